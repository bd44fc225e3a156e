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

// Where shows a program. If it cannot, it says in one line what it has expected.
func TestRun(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			conn.Close()
		}
	}()
	for name, test := range map[string]struct{ script, want string }{
		"in_zen1": {`printf 'goroutine 1 [IO wait]:\nmain.f()\n\n' >$ZEN_LOG; echo Complex.; exec sleep 1000`, "3 IO wait      f\n"},
		"mute":    {`echo a line of GODEBUG >&2; echo Listening at ` + listener.Addr().String() + ` >&2; exec sleep 1000`, "no answer: "},
		"other":   {`echo no server >&2`, `expected it to print Listening at, got "no server\n"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			picture, err := run(t.Context(), write(t, name, test.script))
			if got := fmt.Sprint(picture, err); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if _, err := run(t.Context(), "/no/such/program"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
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
