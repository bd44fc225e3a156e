//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package stacks

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// Dump starts a server, lets three clients ask a question and fall silent, sends the
// server SIGQUIT, and returns what it prints. command returns the command of the server
// with these arguments, in a process group of its own. mode is "nowait" or "wait" if
// inetd starts the server, and "" if it listens itself.
//
// The server may serve one client at a time, so the second and third client wait for an
// answer for ten steps at most. Two more steps are enough for the server to wait again.
// When ctx is done, Dump ends the server and returns.
func Dump(ctx context.Context, mode string, step time.Duration, command func(args ...string) *exec.Cmd) (dump string, err error) {
	if mode == "" {
		dump, err = listens(ctx, step, command("-p", "0", "127.0.0.1"))
	} else {
		dump, err = underInetd(ctx, mode == "wait", step, command)
	}
	return dump, cmp.Or(context.Cause(ctx), err)
}

func listens(ctx context.Context, step time.Duration, server *exec.Cmd) (dump string, err error) {
	server.Env = append(server.Environ(), "GOTRACEBACK=single")
	stderr, err := server.StderrPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return "", err
	}
	defer server.Wait()
	kill := func() { syscall.Kill(-server.Process.Pid, syscall.SIGKILL) }
	defer kill()
	defer context.AfterFunc(ctx, kill)()
	output, address, printed := bufio.NewReader(stderr), "", ""
	for found := false; !found; { // GODEBUG makes a program print more
		line, err := output.ReadString('\n')
		if printed += line; err != nil {
			return "", fmt.Errorf("expected it to print Listening at, got %q", printed)
		}
		address, found = strings.CutPrefix(strings.TrimSpace(line), "Listening at ")
	}
	if err := connect(ctx, address, step); err != nil {
		return "", err
	}
	server.Process.Signal(syscall.SIGQUIT)
	text, err := io.ReadAll(output)
	return string(text), err
}

func underInetd(ctx context.Context, wait bool, step time.Duration, command func(args ...string) *exec.Cmd) (dump string, err error) {
	folder, err := os.MkdirTemp("", "stacks")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	service := superserver.Service{
		Listener: zen.Listener{TCPListener: listener.(*net.TCPListener)},
		Wait:     wait,
		Command: func() *exec.Cmd {
			command := command()
			command.Env = append(command.Environ(), "GOTRACEBACK=single")
			if log, err := os.CreateTemp(folder, ""); err == nil { // one for each process
				command.Env = append(command.Env, "ZEN_LOG="+log.Name())
				log.Close()
			}
			return command
		},
		Pause:  step,
		Signal: syscall.SIGQUIT,
		Log:    log.New(io.Discard, "", 0),
	}
	serving, quit := context.WithCancel(ctx)
	go service.Serve(serving)
	err = connect(ctx, listener.Addr().String(), step)
	quit()
	service.End()
	logs, _ := filepath.Glob(folder + "/*")
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		dump += string(text)
	}
	return dump, err
}

// connect connects three clients, until ctx is done. Each asks a question, so that it is
// certainly accepted if the server accepts so many.
func connect(ctx context.Context, address string, step time.Duration) error {
	for i := range 3 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		io.WriteString(conn, "Simple is better than?") // if this fails, so does the read
		if i > 0 {
			conn.SetReadDeadline(time.Now().Add(10 * step))
		}
		if _, err = conn.Read(make([]byte, 100)); err != nil && !os.IsTimeout(err) {
			return fmt.Errorf("no answer: %w", err)
		}
	}
	time.Sleep(2 * step)
	return nil
}
