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
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
)

// A program is killed if it has not printed its stacks within patience. A client
// waits for an answer for as long as turn, because the server may serve one client at
// a time. A server has settle to go back to waiting.
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
	if _, err := connect(ctx, address, func() error { return nil }); err != nil {
		return "", err
	}
	quit(server)
	text, err := io.ReadAll(output)
	return string(text), err
}

// runUnderInetd does what inetd does: it starts a process of in_zen1 for each client, and
// one of in_zen2 for all. They print their stacks to their log.
func runUnderInetd(ctx context.Context, name string, command func(...string) *exec.Cmd) (dump string, err error) {
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
		process.Stdin, process.Stdout, process.Stderr = file, file, file
		if err = process.Start(); err == nil {
			processes = append(processes, process)
		}
		return err
	}
	before := int64(0)
	if status, err := os.Stat(zen.LogFile); err == nil {
		before = status.Size()
	}
	clients, err := connect(ctx, listener.Addr().String(), start)
	for _, process := range processes { // one after the other, for they have one log
		quit(process)
		process.Wait()
	}
	dump, logErr := takeFromLog(before, clients)
	return dump, cmp.Or(err, logErr)
}

// takeFromLog removes from the log what the servers of clients have appended since it
// had size bytes, and returns that. Lines about other clients stay.
func takeFromLog(size int64, clients []net.Conn) (dump string, err error) {
	file, err := os.OpenFile(zen.LogFile, os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, size, 10<<20))
	others, ours := "", false
	for _, line := range logLine.FindAllString(string(text), -1) {
		if slices.ContainsFunc(clients, func(c net.Conn) bool { return strings.HasSuffix(line, " "+c.LocalAddr().String()+"\n") }) {
			ours = true
		} else {
			others += line
		}
	}
	if err == nil && !ours {
		err = fmt.Errorf("%s: nothing was appended; is it yours?", zen.LogFile)
	}
	if err == nil {
		err = file.Truncate(size)
	}
	if err == nil {
		_, err = file.WriteString(others)
	}
	return string(text), err
}

var logLine = regexp.MustCompile(`(?m)^(?:Accepted|Client|Waited) .*\n`)

// connect returns three clients, which are closed when ctx is done. It calls start for
// each. Then each asks a question, so that it is certainly accepted if the server
// accepts so many.
func connect(ctx context.Context, address string, start func() error) (clients []net.Conn, err error) {
	for wait := patience; len(clients) < 3; wait = turn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return clients, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		clients = append(clients, conn)
		if err := start(); err != nil {
			return clients, err
		}
		io.WriteString(conn, "Simple is better than?") // if this fails, so does the read
		conn.SetReadDeadline(time.Now().Add(wait))
		_, err = conn.Read(make([]byte, 100))
		if err != nil && (!os.IsTimeout(err) || len(clients) == 1) {
			return clients, fmt.Errorf("no answer: %w", err)
		}
	}
	time.Sleep(settle)
	return clients, nil
}
