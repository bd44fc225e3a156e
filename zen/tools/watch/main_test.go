package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/socketserver"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

// watch runs the program with a server that calls handle for each client in a goroutine.
// Standard output is not a terminal here. It returns what is printed, and the status.
func watch(t *testing.T, handle func(conn net.Conn), tick time.Duration, args ...string) string {
	listener := zen.Listen("127.0.0.1:0")
	defer listener.Close()
	go socketserver.Serve(listener, handle)
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	run := zentest.Run(t, zentest.Program(append(args, "-p", port, "-think", tick.String(), host)...))
	return fmt.Sprint(run.Stdout, run.Stderr, run.Status)
}

// Each kind has its row for 12 ticks. If the server thinks for less than a tick, the
// first client knows. On a machine that is late only longer ticks do.
func TestPicture(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ratio  time.Duration // of a tick to the time that the server thinks
		beside string
		want   string
	}{
		{1, "-beside silent -beside flood -beside deaf -beside endless", `silent   -{12}\|
flood    \.?f[.f]*f[.f]*\|
deaf     \.{12}\|
endless  \.?-{11,12}\|
(?:[A-F]        [A-F]------[A-F]\|
){6}`},
		{1, "", `(?:[A-F]  [A-F]------[A-F]\|
){6}`},
		{4, "", `A  A-{4,5}A\|
(?:[B-F]  .*
){5}A does not get its answers in a tick: start the server with -think .* too
`},
	} {
		want := regexp.MustCompile(`^\. waits .* \(a column is .*\)\n` + test.want + `0$`)
		for think, got := 50*time.Millisecond, ""; !want.MatchString(got); think *= 2 {
			if think > 2*time.Second {
				t.Fatalf("got %s, want %v", got, want)
			}
			got = watch(t, func(conn net.Conn) {
				questions := bufio.NewReaderSize(conn, zen.MaxQuestion)
				for _, err := questions.ReadSlice('?'); err == nil; _, err = questions.ReadSlice('?') {
					time.Sleep(think)
					io.WriteString(conn, "Complex.")
				}
				conn.(*net.TCPConn).CloseWrite() // the question is too long, or the client has left
				io.Copy(io.Discard, conn)
			}, test.ratio*think, strings.Fields(test.beside)...)
		}
	}
}

// If a server breaks off, says something else or nothing, the rows end with '!'.
func TestErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        `[A-F]: no answer within 70 ticks`,
		"Comp":                    `[A-F]: expected "Complex\.", got "Comp": unexpected EOF`,
		"SSH-2.0-OpenSSH_9.2\r\n": `[A-F]: expected "Complex\.", got "SSH-2\.0-"`,
		"Complex.":                `[A-F]: expected "Complex\.", got "": .*`, // once
	} {
		got := watch(t, func(conn net.Conn) {
			conn.Read(make([]byte, 100))
			io.WriteString(conn, text)
			if text == "" {
				io.Copy(io.Discard, conn)
			}
		}, 20*time.Millisecond)
		if !regexp.MustCompile(`\n(?:[A-F]  .*!\n){6}` + want + `\n1$`).MatchString(got) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	got := watch(t, func(net.Conn) {}, 100*time.Millisecond, "-beside", "silent", "-beside", "flood", "-beside", "deaf")
	if strings.Count(got, "!\n") != 9 {
		t.Error(got)
	}
}

// What is wrong from the start is told in one line; wrong arguments, with the usage.
func TestArguments(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"127.0.0.1 -p 1":          `^dial tcp 127\.0\.0\.1:1: .* refused.*; is a server running at 127\.0\.0\.1:1\?\n$`,
		"localhost -beside crowd": `^invalid value "crowd" for flag -beside: expected silent, flood, deaf or endless\nusage: `,
		"localhost -think 0":      `^expected a tick of at least 1ms, got -think 0s\nusage: `,
	} {
		run := zentest.Run(t, zentest.Program(strings.Fields(args)...))
		status := 1 + strings.Count(want, "usage")
		if run.Stdout != "" || !regexp.MustCompile(want).MatchString(run.Stderr) || run.Status != status {
			t.Errorf("%q: %+v, want status %d, %s", args, run, status, want)
		}
	}
}
