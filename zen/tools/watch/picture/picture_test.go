package picture

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// draw draws clients of a server that calls handle for each in a goroutine.
func draw(t *testing.T, handle func(conn net.Conn, tick time.Duration), tick time.Duration, beside ...string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn, tick)
			}()
		}
	}()
	p, err := Start(listener.Addr().String(), tick, beside...)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Wait()
	return p.String(), err
}

// hear reads a question, and returns its length with the "?", or 0 if the client leaves.
func hear(conn net.Conn) int {
	data := make([]byte, 1)
	for n := 1; ; n++ {
		if _, err := conn.Read(data); err != nil {
			return 0
		}
		if data[0] == '?' {
			return n
		}
		if n > 4096 {
			conn.(*net.TCPConn).CloseWrite()
		}
	}
}

// answers thinks a tick about each question, and hangs up on an endless one.
func answers(conn net.Conn, tick time.Duration) {
	for n := hear(conn); n > 0; n = hear(conn) {
		time.Sleep(tick)
		io.WriteString(conn, answer)
	}
}

// Each kind has its row for 12 ticks. On a machine that is late only longer ticks do.
func TestKinds(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`^silent   -{12}\|
flood    f{11}[.f]\|
deaf     \.{12}\|
endless  \.?-{11,12}\|
A        A------A\|
B        B------B\|
C        C------C\|
D        D------D\|
E        E------E\|
F        F------F\|
$`)
	for tick := 50 * time.Millisecond; ; tick *= 2 {
		got, err := draw(t, answers, tick, "silent", "flood", "deaf", "endless")
		if want.MatchString(got) && err == nil {
			return
		}
		if tick > time.Second {
			t.Fatalf("%v\n%s", err, got)
		}
	}
}

// If a server breaks off, says something else or nothing, the rows end with '!'.
func TestErrors(t *testing.T) {
	t.Parallel()
	says := func(text string) func(net.Conn, time.Duration) {
		return func(conn net.Conn, _ time.Duration) {
			hear(conn)
			io.WriteString(conn, text)
		}
	}
	for name, test := range map[string]struct {
		handle func(net.Conn, time.Duration)
		beside []string
		want   string
	}{
		"HangsUp":     {says(""), nil, `^[A-F]: expected "Complex\.", got "": EOF$`},
		"HalfWay":     {says("Comp"), nil, `^[A-F]: expected "Complex\.", got "Comp": unexpected EOF$`},
		"SSH":         {says("SSH-2.0-OpenSSH_9.2\r\n"), nil, `^[A-F]: expected "Complex\.", got "SSH-2\.0-"$`},
		"Once":        {says(answer), nil, `^[A-F]: expected "Complex\.", got "": `},
		"HangsUpAll":  {says(""), []string{"flood"}, `^(flood|[A-F]): the server hung up: `},
		"NeverSpeaks": {func(conn net.Conn, _ time.Duration) { io.Copy(io.Discard, conn) }, nil, `^[A-F]: no answer within 70 ticks$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := draw(t, test.handle, 20*time.Millisecond, test.beside...)
			if !regexp.MustCompile(test.want).MatchString(fmt.Sprint(err)) || strings.Count(got, "!\n") != 6+len(test.beside) {
				t.Errorf("%v, want %s\n%s", err, test.want, got)
			}
		})
	}
}

// Start says that nobody listens.
func TestRefused(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	address := listener.Addr().String()
	if _, err := Start(address, time.Second); err == nil || !strings.HasSuffix(err.Error(), "refused; is a server running at "+address+"?") {
		t.Error(err)
	}
}
