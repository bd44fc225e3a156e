package main

import (
	"io"
	"net"
	"strings"
	"testing"

	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

const (
	legend250 = ". waits  A is answered  - is silent  | leaves  ! error  (a column is 250ms)\n"
	usage     = "\nusage: watch [flags] host\n"
)

// Standard output is not a terminal here: watch prints the legend and the picture once.
func TestPrinted(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // a server that does not think
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				data := make([]byte, 100)
				for _, err := conn.Read(data); err == nil; _, err = conn.Read(data) {
					io.WriteString(conn, "Complex.")
				}
				conn.Close()
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	run := zentest.Run(t, nil, "127.0.0.1", "-p", port)
	want := "A does not get its answers in a tick: start the server with -think 250ms too\n"
	if !strings.HasPrefix(run.Stdout, legend250+"A  ") || strings.Count(run.Stdout, "|\n") != 6 || strings.Contains(run.Stdout, "\x1b") || run.Stderr != want || run.Status != 0 {
		t.Errorf("status %d, standard output\n%sstandard error\n%s", run.Status, run.Stdout, run.Stderr)
	}
	run = zentest.Run(t, nil, "127.0.0.1", "-p", port, "-beside", "silent")
	if !strings.HasPrefix(run.Stdout, legend250+"silent  -") || run.Stderr != "" || run.Status != 0 {
		t.Errorf("status %d, standard output\n%sstandard error\n%s", run.Status, run.Stdout, run.Stderr)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   []string
		stderr string // its begin
		status int
	}{
		{[]string{"127.0.0.1", "-p", "0"}, "dial tcp 127.0.0.1:0: ", 1},
		{nil, "expected one host, got []" + usage, 2},
		{[]string{"localhost", "-beside", "crowd"}, `invalid value "crowd" for flag -beside: expected one of deaf, endless, flood, silent` + usage, 2},
		{[]string{"localhost", "-think", "0"}, "expected a tick from 1ms to 1m, got -think 0s" + usage, 2},
		{[]string{"localhost", "-think", "1h"}, "expected a tick from 1ms to 1m, got -think 1h0m0s" + usage, 2},
	} {
		run := zentest.Run(t, nil, test.args...)
		if run.Stdout != "" || !strings.HasPrefix(run.Stderr, test.stderr) || run.Status != test.status || run.Status == 1 && strings.Count(run.Stderr, "\n") != 1 {
			t.Errorf("%q: status %d\n%s%s", test.args, run.Status, run.Stdout, run.Stderr)
		}
	}
}

// In a terminal a frame is cut to the columns, and erases the last one, also if the terminal
// has wrapped that since.
func TestFrame(t *testing.T) {
	t.Parallel()
	text := "A  A------\nB  ......\n"
	for _, test := range []struct{ what, got, want string }{
		{"it fits", cut(text, 10), text},
		{"it is too wide", cut(text, 9), "A  A-----\nB  ......\n"},
		{"no frame yet", erase("", 24, 80), ""},
		{"the last frame", erase(text, 24, 10), "\r\x1b[2A\x1b[2M"},
		{"it is wrapped", erase(text, 24, 9), "\r\x1b[3A\x1b[3M"},
		{"its begin is not on the screen", erase(text, 2, 80), ""},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", test.what, test.got, test.want)
		}
	}
}
