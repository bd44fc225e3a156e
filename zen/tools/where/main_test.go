//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// write writes a shell script, and returns its path.
func write(t *testing.T, name, script string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// If where cannot show a program, it says in one line what it has expected.
func TestErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close()
		}
	}()
	for script, want := range map[string]string{
		"echo no server >&2": `expected it to print Listening at, got "no server\n"`,
		"echo a line of GODEBUG >&2; echo Listening at " + listener.Addr().String() + " >&2; exec sleep 1000": "no answer: ",
	} {
		if _, err := run(t.Context(), write(t, "program", script)); !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := run(t.Context(), "/no/such/program"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// The inetd beside in_zen1 and in_zen2 starts them.
func TestInetd(t *testing.T) {
	inetd := write(t, "inetd", "cat $1 >&2")
	for program, mode := range map[string]string{"in_zen1": "nowait", "in_zen2": "wait"} {
		_, err := run(t.Context(), filepath.Dir(inetd)+"/"+program)
		if want := fmt.Sprintf(`got "127.0.0.1:0 stream tcp %s me %s %[2]s"`, mode, program); !strings.HasSuffix(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// When where is told to end, it ends the program first, with what that has started.
func TestEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	syscall.Mkfifo(pipe, 0o600)
	program := write(t, "program", "sleep 1000 >"+pipe+"; exit")
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		sleep, err := os.Open(pipe) // returns when sleep starts
		end()
		io.Copy(io.Discard, sleep) // until it has ended
		ended <- err
	}()
	if _, err := run(ctx, program); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The filter copies lines as they come, and prints the picture in place of the stacks.
func TestFilter(t *testing.T) {
	const dump = "SIGQUIT: quit\nPC=0x1\n\ngoroutine 1 [IO wait]:\nmain.serve()\nmain.main()\n\t/x/main.go:3\n\nrax 0x1\nexit status 2\n"
	for input, want := range map[string]string{
		"one\ntwo":                         "one\ntwo",
		"SIGQUIT: quit\nPC=0x1\nother\n":   "SIGQUIT: quit\nPC=0x1\nother\n",
		"one\nSIGQUIT: quit\ntwo\n" + dump: "one\nSIGQUIT: quit\ntwo\nSIGQUIT: quit\n1 IO wait      main > serve\n",
	} {
		var output strings.Builder
		if err := filter(&output, strings.NewReader(input)); err != io.EOF || output.String() != want {
			t.Errorf("%q: got %q, %v; want %q", input, output.String(), err, want)
		}
	}
	input, lines := io.Pipe()
	defer lines.Close()
	copied, output := io.Pipe()
	go filter(output, input)
	go io.WriteString(lines, "SIGQUIT: quit\n")
	line := make([]byte, 100)
	if n, err := copied.Read(line); err != nil || string(line[:n]) != "SIGQUIT: quit\n" {
		t.Errorf("read %q, %v", line[:n], err)
	}
}
