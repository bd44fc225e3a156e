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
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

// watch runs the program with a server that calls handle for each client in a goroutine.
// Standard output is not a terminal here.
func watch(t *testing.T, handle func(conn net.Conn), tick time.Duration, beside ...string) zentest.Result {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	args := []string{host, "-p", port, "-think", tick.String()}
	for _, kind := range beside {
		args = append(args, "-beside", kind)
	}
	return zentest.Run(t, zentest.Program(args...))
}

// Each kind has its row for 12 ticks. If the server thinks for less than a tick, the
// first client knows. On a machine that is late only longer ticks do.
func TestPicture(t *testing.T) {
	for _, test := range []struct {
		ratio  time.Duration // of a tick to the time that the server thinks
		beside []string
		want   string
	}{
		{1, []string{"silent", "flood", "deaf", "endless"}, `silent   -{12}\|
flood    \.?f[.f]{10,11}\|
deaf     \.{12}\|
endless  \.?-{11,12}\|
A        A------A\|
(?:[B-F]        [B-F]------[B-F]\|
){5}`},
		{1, nil, `A  A------A\|
(?:[B-F]  [B-F]------[B-F]\|
){5}`},
		{4, nil, `A  A-{4,5}A\|
(?:[B-F]  .*
){5}A does not get its answers in a tick: start the server with -think \w+ too
`},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			want := regexp.MustCompile(`^\. waits .* \(a column is \w+\)\n` + test.want + `0$`)
			for think := 50 * time.Millisecond; ; think *= 2 {
				run := watch(t, func(conn net.Conn) {
					questions := bufio.NewReaderSize(conn, zen.MaxQuestion)
					for _, err := questions.ReadSlice('?'); err == nil; _, err = questions.ReadSlice('?') {
						time.Sleep(think)
						io.WriteString(conn, "Complex.")
					}
					conn.(*net.TCPConn).CloseWrite() // the question is too long, or the client has left
					io.Copy(io.Discard, conn)
				}, test.ratio*think, test.beside...)
				if got := fmt.Sprint(run.Stdout, run.Stderr, run.Status); want.MatchString(got) {
					return
				} else if think > time.Second {
					t.Fatalf("got %s, want %v", got, want)
				}
			}
		})
	}
}

// If a server breaks off, says something else or nothing, the rows end with '!'.
func TestErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        `expected "Complex\.", got "": EOF`,
		"Comp":                    `expected "Complex\.", got "Comp": unexpected EOF`,
		"SSH-2.0-OpenSSH_9.2\r\n": `expected "Complex\.", got "SSH-2\.0-"`,
		"Complex.":                `expected "Complex\.", got "": .*`, // once
		"nothing":                 `no answer within 70 ticks`,
	} {
		run := watch(t, func(conn net.Conn) {
			conn.Read(make([]byte, 100))
			if text == "nothing" {
				io.Copy(io.Discard, conn)
			}
			io.WriteString(conn, text)
		}, 20*time.Millisecond)
		if !regexp.MustCompile(`^[A-F]: `+want+`\n$`).MatchString(run.Stderr) || strings.Count(run.Stdout, "!\n") != 6 || run.Status != 1 {
			t.Errorf("%+v, want %s", run, want)
		}
	}
	run := watch(t, func(net.Conn) {}, 20*time.Millisecond, "silent", "flood", "deaf")
	if strings.Count(run.Stdout, "!\n") != 9 || run.Status != 1 {
		t.Errorf("%+v", run)
	}
}

// What is wrong from the start is told in one line; wrong arguments, with the usage.
func TestArguments(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	address := listener.Addr().String()
	for args, want := range map[string]string{
		strings.ReplaceAll(address, ":", " -p "): "dial tcp " + address + ": .* refused.*; is a server running at " + address + `\?`,
		"localhost -beside crowd":                `invalid value "crowd" for flag -beside: expected one of deaf, endless, flood, silent\nusage: .*`,
		"localhost -think 0":                     `expected a tick from 1ms to 1m, got -think 0s\nusage: .*`,
		"localhost -think 1h":                    `expected a tick from 1ms to 1m, got -think 1h0m0s\nusage: .*`,
	} {
		run := zentest.Run(t, zentest.Program(strings.Fields(args)...))
		status := 1 + strings.Count(want, "usage")
		if run.Stdout != "" || !regexp.MustCompile("^"+want+"\n").MatchString(run.Stderr) || run.Status != status {
			t.Errorf("%q: %+v, want status %d, %s", args, run, status, want)
		}
	}
}

// In a terminal a line is cut before its last column, and erases what was there.
func TestCut(t *testing.T) {
	if got, want := cut("A  A------\nB\n", 9), "A  A----\x1b[K\nB\x1b[K\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
