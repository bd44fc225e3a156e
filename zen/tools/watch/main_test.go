package main

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

// answers answers every question at once.
func answers(conn net.Conn) {
	defer conn.Close()
	data := make([]byte, 100)
	for {
		n, err := conn.Read(data)
		if err != nil {
			return
		}
		io.WriteString(conn, strings.Repeat(zen.Aphorisms["Simple is better than?"], strings.Count(string(data[:n]), "?")))
	}
}

// Standard output is not a terminal here: watch prints the legend and the finished
// picture, and no escape sequence.
func TestPrinted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, `A  [.A-]+\|\nB  [.B-]+\|\nC  [.C-]+\|\nD  [.D-]+\|\nE  [.E-]+\|\nF  [.F-]+\|\n`},
		{[]string{"-beside", "silent", "-beside", "silent"}, `silent  -{12,}\|\nsilent  -{12,}\|\nA       [.A-]+\|\nB       (.*\n){5}`},
	} {
		host, port := zentest.Serve(t, answers)
		args := append([]string{host, "-think", "100ms", "-p", port}, test.args...)
		run := zentest.Run(t, nil, args...)
		want := `^\. waits .*\(a column is 100ms\)\n` + test.want + `$`
		if !regexp.MustCompile(want).MatchString(run.Stdout) || run.Stderr != "" || run.Status != 0 {
			t.Errorf("%q: status %d, standard output\n%sstandard error\n%swant %s", args, run.Status, run.Stdout, run.Stderr, want)
		}
	}
}

// What goes wrong is one line below the picture.
func TestError(t *testing.T) {
	t.Parallel()
	host, port := zentest.Serve(t, func(conn net.Conn) {
		io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
		io.Copy(io.Discard, conn)
	})
	run := zentest.Run(t, nil, host, "-p", port)
	if !strings.HasSuffix(run.Stdout, "!\n") || strings.Count(run.Stdout, "!\n") != 6 || run.Status != 1 {
		t.Errorf("status %d\n%s", run.Status, run.Stdout)
	}
	if want := regexp.MustCompile(`^[A-F]: expected "Complex\.", got "SSH-2\.0-"\n$`); !want.MatchString(run.Stderr) {
		t.Errorf("standard error %q, want %v", run.Stderr, want)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	zentest.CheckCommandLine(t, []string{"127.0.0.1", "-p", "0"}, `^dial tcp 127\.0\.0\.1:0: `)
	for _, test := range []struct{ flag, value, line string }{
		{"-beside", "crowd", `invalid value "crowd" for flag -beside: expected one of deaf, endless, flood, silent`},
		{"-beside", "", `invalid value "" for flag -beside: expected one of deaf, endless, flood, silent`},
		{"-think", "0", `expected a tick from 1ms to 1m, got -think 0s`},
		{"-think", "-1s", `expected a tick from 1ms to 1m, got -think -1s`},
	} {
		run := zentest.Run(t, nil, "localhost", test.flag, test.value)
		if run.Stdout != "" || !strings.HasPrefix(run.Stderr, test.line+"\nusage: watch [flags] host\n") || run.Status != 2 {
			t.Errorf("%s %q: status %d\n%s%s", test.flag, test.value, run.Status, run.Stdout, run.Stderr)
		}
	}
}
