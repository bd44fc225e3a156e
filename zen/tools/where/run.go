//go:build unix

package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A program is killed if it has not printed its stacks within patience. The second and
// third client wait for an answer for as long as turn, because the server may serve one
// client at a time. After the last answer, settle is enough for a server to wait again.
const patience, turn, settle = 20 * time.Second, time.Second, 200 * time.Millisecond

// attributes give each program a process group, to end it with all that it has started.
var attributes = syscall.SysProcAttr{Setpgid: true}

// run starts program, and returns what it prints when three clients are silent and
// it receives SIGQUIT. When ctx is done, run kills the program and returns.
func run(ctx context.Context, program string) (dump string, err error) {
	ctx, end := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no stacks within %v", patience))
	defer end()
	command := func(args ...string) *exec.Cmd {
		command := exec.CommandContext(ctx, program, args...)
		command.SysProcAttr = &attributes
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
		command.Env = append(os.Environ(), "GOTRACEBACK=single")
		return command
	}
	switch name := filepath.Base(program); name {
	case "in_zen1", "in_zen2":
		dump, err = runUnderInetd(ctx, name, command)
	default:
		dump, err = runServer(ctx, command("-p", "0", "127.0.0.1"))
	}
	return dump, cmp.Or(context.Cause(ctx), err)
}

// quit sends SIGQUIT to a process, on which it prints its stacks and ends.
func quit(process *exec.Cmd) { syscall.Kill(-process.Process.Pid, syscall.SIGQUIT) }

func runServer(ctx context.Context, server *exec.Cmd) (dump string, err error) {
	stderr, err := server.StderrPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return "", err
	}
	defer server.Wait()
	defer server.Cancel()
	output := bufio.NewReader(stderr)
	address, line := "", ""
	for found := false; !found; address, found = strings.CutPrefix(strings.TrimSpace(line), "Listening at ") {
		before := line // GODEBUG makes a program print more
		if line, err = output.ReadString('\n'); err != nil {
			return "", fmt.Errorf("expected it to print Listening at, got %q", before+line)
		}
	}
	if err := connect(ctx, address, func() error { return nil }); err != nil {
		return "", err
	}
	quit(server)
	text, err := io.ReadAll(output)
	return string(text), err
}

// runUnderInetd does what inetd does: it starts a process of in_zen1 for each client, and
// one of in_zen2 for all. They print to the file that ZEN_LOG names.
func runUnderInetd(ctx context.Context, name string, command func(...string) *exec.Cmd) (dump string, err error) {
	output, err := os.CreateTemp("", "where")
	if err != nil {
		return "", err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	defer listener.Close()
	var processes []*exec.Cmd
	start := func() error {
		if name == "in_zen2" && processes != nil {
			return nil
		}
		socket := listener.File
		if name == "in_zen1" {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return err
			}
			defer conn.Close()
			socket = conn.File
		}
		file, err := socket()
		if err != nil {
			return err
		}
		defer file.Close()
		process := command()
		process.Env = append(process.Env, "ZEN_LOG="+output.Name())
		process.Stdin, process.Stdout, process.Stderr = file, file, file
		if err = process.Start(); err == nil {
			processes = append(processes, process)
		}
		return err
	}
	err = connect(ctx, listener.Addr().String(), start)
	for _, process := range processes { // one after the other, for they have one log
		quit(process)
		process.Wait()
	}
	text, readErr := io.ReadAll(output)
	return string(text), cmp.Or(err, readErr)
}

// connect connects three clients, until ctx is done. It calls start for each. Then each
// asks a question, so that it is certainly accepted if the server accepts so many.
func connect(ctx context.Context, address string, start func() error) error {
	wait := patience
	for range 3 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		if err := start(); err != nil {
			return err
		}
		io.WriteString(conn, "Simple is better than?") // if this fails, so does the read
		conn.SetReadDeadline(time.Now().Add(wait))
		_, err = conn.Read(make([]byte, 100))
		if err != nil && (!os.IsTimeout(err) || wait == patience) {
			return fmt.Errorf("no answer: %w", err)
		}
		wait = turn
	}
	time.Sleep(settle)
	return nil
}
