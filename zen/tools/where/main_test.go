//go:build unix

package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
)

// The programs that where starts are this test binary under other names.
func TestMain(m *testing.M) {
	log.SetFlags(0)
	switch filepath.Base(os.Args[0]) {
	case "in_zen1":
		zen.RedirectOutput()
		zen.HandleConversation(zen.StdinConn())
	case "in_zen2":
		zen.RedirectOutput()
		zen.AcceptConnectionsForever(zen.StdinListener())
	case "server":
		log.Print("a line of GODEBUG")
		zen.AcceptConnectionsForever(zen.Listen(os.Args[3] + ":" + os.Args[2]))
	case "mute":
		conn, _ := zen.Listen("127.0.0.1:0").Accept()
		conn.Close()
	case "other":
		log.Print("no server")
	default:
		os.Exit(m.Run())
	}
}

// Where shows a server. Of another program it says in one line what it has expected.
func TestRun(t *testing.T) {
	self, _ := os.Executable()
	for name, want := range map[string]string{
		"server":  "name 1 IO wait ",
		"in_zen1": "name 3 IO wait ",
		"in_zen2": "name 1 IO wait ",
		"mute":    "no answer: ",
		"other":   `expected it to print Listening at, got "no server\n"`,
		"absent":  "fork/exec ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), name)
			if name != "absent" {
				os.Symlink(self, program)
			}
			var output strings.Builder
			dump, err := run(t.Context(), program)
			if err == nil {
				err = show(&output, "name ", dump)
			}
			if err != nil {
				output.WriteString(err.Error())
			}
			if got := output.String(); !strings.HasPrefix(got, want) || err == nil && !strings.Contains(got, "HandleConversation\n") {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// When where is told to end, it ends the program first, with what that has started.
func TestEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	program := filepath.Join(t.TempDir(), "program")
	exec.Command("mkfifo", pipe).Run()
	os.WriteFile(program, []byte("#!/bin/sh\nsleep 1000 >"+pipe+"; exit"), 0o700)
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
	const picture = "\n1 IO wait      main > serve\n"
	for input, want := range map[string]string{
		"":                                       "",
		"one\ntwo":                               "one\ntwo",
		"SIGQUIT: quit\nPC=0x1\nother\n":         "SIGQUIT: quit\nPC=0x1\nother\n",
		"Listening\nSIGQUIT: quit\none\n" + dump: "Listening\nSIGQUIT: quit\none\n" + picture,
		strings.ReplaceAll(dump, "\n", "\r\n"):   picture,
	} {
		var output strings.Builder
		if err := filter(&output, strings.NewReader(input)); err != nil || output.String() != want {
			t.Errorf("%q: got %q, %v; want %q", input, output.String(), err, want)
		}
	}
	input, lines := io.Pipe()
	defer lines.Close()
	copied, output := io.Pipe()
	go filter(output, input)
	go io.WriteString(lines, "one\n")
	line := make([]byte, 4)
	if _, err := copied.Read(line); err != nil || string(line) != "one\n" {
		t.Errorf("read %q, %v", line, err)
	}
}
