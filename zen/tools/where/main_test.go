//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/socketserver"
)

// write writes a shell script, and returns its path.
func write(t *testing.T, name, script string) string {
	path := filepath.Join(t.TempDir(), name)
	os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700) // if this fails, so does the start
	return path
}

// If where cannot show a program, it says why in one line.
func TestErrors(t *testing.T) {
	listener := zen.Listen("127.0.0.1:0")
	defer listener.Close()
	go socketserver.Serve(listener, func(net.Conn) {}) // hangs up on each client
	deaf := write(t, "deaf", "echo a line of GODEBUG >&2; echo Listening at "+listener.Addr().String()+" >&2; exec sleep 1000")
	folder := filepath.Dir(write(t, "inetd", "cat $1 >&2"))
	for program, want := range map[string]string{
		deaf:                "no answer: ",
		folder + "/in_zen1": `expected it to print Listening at, got "127.0.0.1:0 stream tcp nowait me in_zen1 in_zen1"`,
		folder + "/in_zen2": `expected it to print Listening at, got "127.0.0.1:0 stream tcp wait me in_zen2 in_zen2"`,
		"/no/such/program":  "fork/exec /no/such/program: no such file or directory",
	} {
		if _, err := run(t.Context(), program); !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// When where is told to end, it ends the program first, with what that has started.
func TestEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	syscall.Mkfifo(pipe, 0o600)
	program := write(t, "program", "sleep 1000 >"+pipe+" & wait")
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := run(ctx, program)
		ended <- err
	}()
	sleep, err := os.Open(pipe) // returns when sleep starts
	if err != nil {
		t.Fatal(err)
	}
	end()
	io.Copy(io.Discard, sleep) // until it has ended
	if err := <-ended; err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
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
	copied, output := io.Pipe()
	go filter(output, input)
	go io.WriteString(lines, "SIGQUIT: quit\n")
	if line, err := bufio.NewReader(copied).ReadString('\n'); line != "SIGQUIT: quit\n" {
		t.Errorf("read %q, %v", line, err)
	}
}
