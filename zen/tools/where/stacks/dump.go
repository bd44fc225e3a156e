//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package stacks

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// Attributes are for the command of a server. They give it a process group, with all that
// it starts. Linux kills the server if the program that has started it is killed.
var Attributes = syscall.SysProcAttr{Setpgid: true}

// Dump starts server, lets three clients ask a question and fall silent, sends SIGQUIT,
// and returns what is printed. server is the command of a server, or of an inetd for one
// service; then SIGQUIT is for the programs that it has started.
//
// The server may serve one client at a time, so the second and third client wait for an
// answer for ten steps at most. Dump waits two more steps, until the server waits again.
// When ctx is done, Dump ends the server and returns.
func Dump(ctx context.Context, step time.Duration, server *exec.Cmd) (dump string, err error) {
	defer func() { err = cmp.Or(context.Cause(ctx), err) }()
	folder, err := os.MkdirTemp("", "stacks")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	path := folder + "/log" // several processes print to it
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	server.Env = append(server.Environ(), "GOTRACEBACK=single", "ZEN_LOG="+path)
	server.Stderr, server.SysProcAttr = log, &Attributes
	if err := server.Start(); err != nil {
		return "", err
	}
	defer server.Wait()
	kill := func() { syscall.Kill(-server.Process.Pid, syscall.SIGKILL) }
	defer kill()
	defer context.AfterFunc(ctx, kill)()

	address, err := await(server, path, "Listening at")
	if err != nil {
		return "", err
	}
	for i := range 3 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		// A client that has an answer has been accepted.
		io.WriteString(conn, "Simple is better than?") // if this fails, so does the read
		if i > 0 {
			conn.SetReadDeadline(time.Now().Add(10 * step))
		}
		if _, err = conn.Read(make([]byte, 100)); err != nil && !os.IsTimeout(err) {
			return "", fmt.Errorf("no answer: %w", err)
		}
	}
	time.Sleep(2 * step)
	printed, _ := os.ReadFile(path)
	programs := regexp.MustCompile(`Started \S+ as process (\d+)`).FindAllSubmatch(printed, -1)
	for _, program := range programs { // one after the other, for they share the log
		pid, _ := strconv.Atoi(string(program[1]))
		syscall.Kill(pid, syscall.SIGQUIT)
		await(server, path, fmt.Sprintf("Ended process %d:", pid))
	}
	if programs == nil {
		server.Process.Signal(syscall.SIGQUIT)
		server.Wait()
	}
	printed, err = os.ReadFile(path)
	return string(printed), err
}

// await waits until server has printed text to a file, and returns the word after text. It
// returns an error if server ends before.
func await(server *exec.Cmd, path, text string) (word string, err error) {
	for ; ; time.Sleep(10 * time.Millisecond) {
		ended, _ := syscall.Wait4(server.Process.Pid, nil, syscall.WNOHANG, nil)
		printed, _ := os.ReadFile(path)
		if match := regexp.MustCompile(text + ` (\S+).*\n`).FindSubmatch(printed); match != nil {
			return string(match[1]), nil
		}
		if ended != 0 {
			return "", fmt.Errorf("expected it to print %s, got %q", text, printed)
		}
	}
}
