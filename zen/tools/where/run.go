package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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

// A program is killed if it has not printed its stacks within patience. A client
// waits for an answer for as long as turn, because the server may serve one client at
// a time. A server has settle to go back to waiting.
const patience, turn, settle = 20 * time.Second, time.Second, 200 * time.Millisecond

// longest is how many bytes a program may print.
const longest = 10 << 20

// run starts program, and returns what it prints when three clients are silent and
// it receives SIGQUIT. When ctx is done, run kills the program and returns.
func run(ctx context.Context, program string) (dump string, err error) {
	if _, err := exec.LookPath(program); err != nil {
		return "", err
	}
	ctx, kill := context.WithTimeout(ctx, patience)
	defer kill()
	switch filepath.Base(program) {
	case "in_zen1":
		dump, err = runUnderInetd(ctx, program, superserver.Nowait)
	case "in_zen2":
		dump, err = runUnderInetd(ctx, program, superserver.Wait)
	default:
		dump, err = runServer(ctx, program)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "", fmt.Errorf("expected its stacks on SIGQUIT, got none within %v", patience)
	}
	return dump, cmp.Or(ctx.Err(), err)
}

func runServer(ctx context.Context, program string) (string, error) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	command := exec.CommandContext(ctx, program, "-p", "0", "127.0.0.1")
	stderr, err := command.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	defer func() {
		kill() // if it still runs
		command.Wait()
	}()
	// What the program has started may have its standard error too, and live on.
	context.AfterFunc(ctx, func() { stderr.Close() })
	output := bufio.NewReader(io.LimitReader(stderr, longest))
	line, _ := output.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "Listening at ")
	if !ok {
		return "", fmt.Errorf("expected it to print Listening at, got %q", line)
	}
	clients, err := connect(address)
	defer disconnect(clients)
	if err != nil {
		return "", err
	}
	if err := command.Process.Signal(syscall.SIGQUIT); err != nil {
		return "", fmt.Errorf("SIGQUIT: %w", err)
	}
	dump, err := io.ReadAll(output)
	return string(dump), err
}

// runUnderInetd runs a program for inetd. Its processes print their
// stacks to the log file, one after the other.
func runUnderInetd(ctx context.Context, program string, serve func(superserver.Listener, superserver.Starter) error) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	before, _ := os.ReadFile(zen.LogFile) // nothing if there is none yet
	commands := make(chan *exec.Cmd, 3)
	start := func(socket superserver.Socket) (<-chan struct{}, error) {
		command := exec.CommandContext(ctx, program)
		if err := superserver.Start(command, socket); err != nil {
			return nil, err
		}
		commands <- command
		return nil, nil // a nil channel: for Wait the program never ends
	}
	go func() {
		serve(listener.(*net.TCPListener), start) // if this fails, the clients get no answer
		listener.Close()
	}()
	clients, err := connect(listener.Addr().String())
	defer disconnect(clients)
	listener.Close()
	if err != nil {
		return "", err
	}
	for len(commands) > 0 {
		command := <-commands
		if err := command.Process.Signal(syscall.SIGQUIT); err != nil {
			return "", err
		}
		command.Wait()
	}
	after, err := os.ReadFile(zen.LogFile)
	if err == nil && len(after) == len(before) {
		err = fmt.Errorf("%s: nothing was appended; is it yours?", zen.LogFile)
	}
	return string(after[min(len(before), len(after)):]), err
}

// connect returns three clients. Each has asked a question, so that it is certainly
// accepted if the server accepts so many.
func connect(address string) (clients []net.Conn, err error) {
	wait := patience
	for range 3 {
		conn, err := net.DialTimeout("tcp", address, wait)
		if err != nil {
			return clients, err
		}
		clients = append(clients, conn)
		io.WriteString(conn, "Simple is better than?") // if this fails, so does the read
		conn.SetReadDeadline(time.Now().Add(wait))
		_, err = conn.Read(make([]byte, 100))
		if err != nil && (!os.IsTimeout(err) || len(clients) == 1) {
			return clients, fmt.Errorf("no answer: %w", err)
		}
		wait = turn
	}
	time.Sleep(settle)
	return clients, nil
}

func disconnect(clients []net.Conn) {
	for _, conn := range clients {
		conn.Close()
	}
}
