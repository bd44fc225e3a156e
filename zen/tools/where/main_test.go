//go:build unix

package main

import (
	"context"
	"flag"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/where/stacks"
)

// The test binary is also the program that is run: its name says which.
func TestMain(m *testing.M) {
	path := os.Getenv("WHERE_TEST_LOG")
	if path == "" {
		os.Exit(m.Run())
	}
	zen.LogFile = path
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError) // without those of package testing
	switch filepath.Base(os.Args[0]) {
	case "in_zen1":
		zen.RedirectOutput()
		zen.HandleConversation(zen.StdinConn())
	case "in_zen2":
		zen.RedirectOutput()
		log.Fatal(zen.AcceptConnectionsForever(zen.StdinListener()))
	case "server":
		log.Fatal(zen.AcceptConnectionsForever(zen.Listen(zen.ParseCommandLine("A server."))))
	case "mute":
		listener := zen.Listen(zen.ParseCommandLine("A server that hangs up."))
		for {
			conn, _ := listener.Accept()
			conn.Close()
		}
	case "other":
		log.SetFlags(0)
		log.Fatal("no server")
	}
}

// program returns the path of the test binary under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	zen.LogFile = filepath.Join(dir, "zen.log")
	t.Setenv("WHERE_TEST_LOG", zen.LogFile)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return path
}

func TestRun(t *testing.T) {
	const conversation = "HandleConversation > handleRequest\n"
	for name, want := range map[string]string{
		"server":  "1 IO wait       main > TestMain > AcceptConnectionsForever > " + conversation,
		"in_zen1": "3 IO wait       main > TestMain > " + conversation,
		"in_zen2": "1 IO wait       main > TestMain > AcceptConnectionsForever > " + conversation,
	} {
		t.Run(name, func(t *testing.T) {
			path := program(t, name)
			// On a busy machine a server may not yet wait again.
			var got string
			for try := 0; try < 10 && got != want; try++ {
				dump, err := run(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				got = strings.ReplaceAll(stacks.Picture(dump), "where.", "")
			}
			if got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

// What is not such a server is told in one line.
func TestNoServer(t *testing.T) {
	for name, want := range map[string]string{
		"other": `expected it to print Listening at, got "no server\n"`,
		"mute":  "no answer: ",
	} {
		if _, err := run(t.Context(), program(t, name)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := run(t.Context(), "/no/such/program"); err == nil {
		t.Error("no error for a program that does not exist")
	}
	path := program(t, "in_zen1")
	zen.LogFile = "/no/such/log" // not where the program writes
	if _, err := run(t.Context(), path); err == nil || !strings.Contains(err.Error(), "/no/such/log") {
		t.Errorf("got %v for a log that cannot be read", err)
	}
}

// When where is told to end, it ends the program first.
func TestEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, end) // long before the three clients have asked
	if _, err := run(ctx, program(t, "server")); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A program may leave a process behind that has its standard error.
func TestEndOfWrapper(t *testing.T) {
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nsleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := run(ctx, wrapper)
		ended <- err
	}()
	time.AfterFunc(100*time.Millisecond, end)
	select {
	case err := <-ended:
		if err != context.Canceled {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	case <-time.After(30 * time.Second):
		t.Error("it waits for what the program has started")
	}
}

// The filter copies lines as they come, and prints the picture in place of the
// stacks.
func TestFilter(t *testing.T) {
	const dump = "SIGQUIT: quit\nPC=0x1\n\ngoroutine 1 [IO wait]:\nmain.main()\n\t/x/main.go:3\n\nrax 0x1\nexit status 2\n"
	for input, want := range map[string]string{
		"":                             "",
		"one\ntwo":                     "one\ntwo",
		"Listening at [::]:1\n" + dump: "Listening at [::]:1\n\n1 IO wait       main\n",
		dump:                           "\n1 IO wait       main\n",
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
