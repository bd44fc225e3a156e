package picture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A history is written as times in ticks and symbols.
func TestRow(t *testing.T) {
	type inTicks struct {
		ticks  float64
		symbol byte
	}
	for _, test := range []struct {
		what    string
		history []inTicks
		now     float64
		want    string
	}{
		{"nothing yet", nil, 0, ""},
		{"not connected", nil, 3, "   "},
		{"waits", []inTicks{{0, '.'}}, 3, "..."},
		{"is silent", []inTicks{{0, '-'}}, 3, "---"},
		{"an answer at once", []inTicks{{0, '.'}, {0, 'A'}}, 0, "A"},
		{"an answer in the first tick", []inTicks{{0, '.'}, {1, 'A'}, {1, '-'}}, 1, "A"},
		{"an answer in the third tick", []inTicks{{0, '.'}, {3, 'A'}, {3, '-'}}, 5, "..A--"},
		{"the whole conversation", []inTicks{{0, '.'}, {1, 'A'}, {1, '-'}, {7, '.'}, {8, 'A'}, {8, '|'}}, 70, "A------A|"},
		{"all is late", []inTicks{{0.1, '.'}, {1.2, 'A'}, {1.2, '-'}, {7.3, '.'}, {8.4, 'A'}, {8.49, '|'}}, 70, "A------A|"},
		{"all is early", []inTicks{{0, '.'}, {0.6, 'A'}, {0.6, '-'}, {6.5, '.'}, {7.5, 'A'}, {7.6, '|'}}, 70, "A------A|"},
		{"too late", []inTicks{{0, '.'}, {1.5, 'A'}, {1.5, '-'}}, 3, ".A-"},
		{"too early", []inTicks{{0, '.'}, {2.49, 'A'}, {2.49, '-'}}, 3, ".A-"},
		{"a server that does not think", []inTicks{{0, '.'}, {0, 'A'}, {0, '-'}, {6, '.'}, {6, 'A'}, {6, '|'}}, 9, "A----A|"},
		{"answers without questions between", []inTicks{{0, '.'}, {0.1, 'f'}, {0.9, 'f'}, {1, 'f'}, {2, 'f'}, {5, 'f'}}, 6, "ff..f."},
		{"connects late", []inTicks{{2, '.'}, {3, 'A'}}, 4, "  A."},
		{"leaves", []inTicks{{0, '-'}, {3, '|'}}, 9, "---|"},
		{"an error", []inTicks{{0, '.'}, {3, '!'}}, 9, "...!"},
		{"an error at once", []inTicks{{0, '!'}}, 9, "!"},
		{"now is rounded down", []inTicks{{0, '.'}}, 2.49, ".."},
		{"now is rounded up", []inTicks{{0, '.'}}, 2.5, "..."},
	} {
		for _, tick := range []time.Duration{time.Millisecond, 250 * time.Millisecond, time.Hour} {
			at := func(ticks float64) time.Duration { return time.Duration(ticks * float64(tick)) }
			var history []event
			for _, e := range test.history {
				history = append(history, event{at(e.ticks), e.symbol})
			}
			if got := row(history, at(test.now), tick); got != test.want {
				t.Errorf("%s, a tick is %v: %q, want %q", test.what, tick, got, test.want)
			}
		}
	}
}

// listen runs serve with a listener at the address that it returns.
func listen(t *testing.T, serve func(net.Listener)) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go serve(listener)
	return listener.Addr().String()
}

// each accepts clients, and calls handle for each with its number from 0.
func each(handle func(number int, conn net.Conn)) func(net.Listener) {
	return func(listener net.Listener) {
		for number := 0; ; number++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			handle(number, conn)
		}
	}
}

// hear reads a question, and reports whether one came.
func hear(conn net.Conn) bool {
	data := make([]byte, 1)
	for {
		if _, err := conn.Read(data); err != nil || data[0] == '?' {
			return err == nil
		}
	}
}

// converse answers the questions of a client, and thinks a tick about each.
func converse(conn net.Conn, tick time.Duration) {
	defer conn.Close()
	for hear(conn) {
		time.Sleep(tick)
		io.WriteString(conn, answer)
	}
}

// try draws with short ticks, and again with longer ones as long as attempt returns
// a problem: a busy machine is late, and may miss a tick.
func try(t *testing.T, attempt func(tick time.Duration) (problem string)) {
	for tick := 25 * time.Millisecond; ; tick *= 2 {
		problem := attempt(tick)
		if problem == "" {
			return
		}
		if tick > time.Second {
			t.Fatalf("a tick is %v: %s", tick, problem)
		}
	}
}

// draw returns a finished picture, and the error that it ended with.
func draw(address string, tick time.Duration, beside ...string) (string, error) {
	p, err := Start(address, tick, beside...)
	if err != nil {
		return "", err
	}
	err = p.Wait()
	return p.String(), err
}

// Three servers, each with an architecture of its own. All think a tick.

func single(tick time.Duration) func(net.Listener) {
	return each(func(_ int, conn net.Conn) { converse(conn, tick) })
}

func goroutines(tick time.Duration) func(net.Listener) {
	return each(func(_ int, conn net.Conn) { go converse(conn, tick) })
}

func loop(tick time.Duration) func(net.Listener) {
	questions := make(chan net.Conn, 10)
	next := func(conn net.Conn) {
		if hear(conn) {
			questions <- conn
		}
	}
	go func() {
		for conn := range questions {
			time.Sleep(tick)
			io.WriteString(conn, answer)
			go next(conn)
		}
	}()
	return each(func(_ int, conn net.Conn) { next(conn) })
}

func TestPicture(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server func(tick time.Duration) func(net.Listener)
		beside []string
		want   string
	}{
		"Single": {single, nil, `
A  A------A|
B  ........B------B|
C  ................C------C|
D  ........................D------D|
E  ................................E------E|
F  ........................................F------F|
`},
		"Goroutines": {goroutines, nil, `
A  A------A|
B  B------B|
C  C------C|
D  D------D|
E  E------E|
F  F------F|
`},
		"Loop": {loop, nil, `
A  A------A|
B  .B------B|
C  ..C------C|
D  ...D------D|
E  ....E------E|
F  .....F------F|
`},
		"Beside": {goroutines, []string{"silent", "silent", "deaf"}, `
silent  ------------|
silent  ------------|
deaf    ............|
A       A------A|
B       B------B|
C       C------C|
D       D------D|
E       E------E|
F       F------F|
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try(t, func(tick time.Duration) string {
				got, err := draw(listen(t, test.server(tick)), tick, test.beside...)
				if "\n"+got == test.want && err == nil {
					return ""
				}
				return fmt.Sprintf("%v\n%swant%s", err, got, test.want)
			})
		})
	}
}

// A picture can be looked at before it is finished.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	asked, answers := make(chan bool), make(chan bool)
	address := listen(t, each(func(_ int, conn net.Conn) {
		go func() {
			defer conn.Close()
			for hear(conn) {
				asked <- true
				<-answers
				io.WriteString(conn, answer)
			}
		}()
	}))
	p, err := Start(address, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		<-asked
	}
	if got := p.String(); !regexp.MustCompile(`^A  [ .]*\nB  [ .]*\nC  [ .]*\nD  [ .]*\nE  [ .]*\nF  [ .]*\n$`).MatchString(got) {
		t.Errorf("nobody has an answer:\n%s", got)
	}
	close(answers)
	for range 6 {
		<-asked
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := p.String(); strings.Count(got, "|\n") != 6 {
		t.Errorf("all have left:\n%s", got)
	}
}

// Each kind does what it promises. The server of this test treats its first client
// in another way than the six.
func TestKinds(t *testing.T) {
	t.Parallel()
	for kind, test := range map[string]struct {
		handle func(t *testing.T, conn net.Conn)
		row    string
	}{
		"silent": {func(t *testing.T, conn net.Conn) {
			if data, err := io.ReadAll(conn); len(data) > 0 || err != nil {
				t.Errorf("received %q, %v; want nothing until it leaves", data, err)
			}
		}, `-{12,}\|`},
		"flood": {func(t *testing.T, conn net.Conn) {
			questions := bufio.NewReader(conn)
			for n := 1; ; n++ {
				question, err := questions.ReadString('?')
				if err != nil {
					return // it has left
				}
				if len(question) != 1000 {
					t.Errorf("a question has %d bytes, want 1000", len(question))
				}
				if n >= 3 { // it does not wait for the first answer
					io.WriteString(conn, answer)
				}
			}
		}, `[.f]*f[.f]*\|`},
		"deaf": {func(t *testing.T, conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for {
				if _, err := conn.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
					return // it has left
				}
			}
		}, `\.{12,}\|`},
		"endless": {func(t *testing.T, conn net.Conn) {
			data := make([]byte, 4097)
			if _, err := io.ReadFull(conn, data); err != nil || bytes.Contains(data, []byte("?")) {
				t.Errorf("received %q, %v; want 4097 bytes of a question", data, err)
			}
			conn.(*net.TCPConn).CloseWrite()
			if data, err := io.ReadAll(conn); len(data) > 0 || err != nil {
				t.Errorf("received %q, %v; want nothing until it leaves", data, err)
			}
		}, `[.-]{12,}\|`},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			try(t, func(tick time.Duration) string {
				left := make(chan bool)
				address := listen(t, each(func(number int, conn net.Conn) {
					if number > 0 {
						go converse(conn, 0)
						return
					}
					go func() {
						defer close(left)
						defer conn.Close()
						test.handle(t, conn)
					}()
				}))
				got, err := draw(address, tick, kind)
				if got != "" {
					<-left
				}
				want := `^` + kind + ` +` + test.row + `\nA  `
				if regexp.MustCompile(want).MatchString(got) && strings.Count(got, "|\n") == 7 && err == nil {
					return ""
				}
				return fmt.Sprintf("%v\n%swant %s", err, got, want)
			})
		})
	}
}

// If a server breaks off, or says something else, the rows end with '!'.
func TestErrors(t *testing.T) {
	t.Parallel()
	reset := func(conn net.Conn) {
		conn.Read(make([]byte, 1))
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	say := func(answers string) func(conn net.Conn) {
		return func(conn net.Conn) {
			hear(conn)
			io.WriteString(conn, answers)
			conn.Close()
		}
	}
	for name, test := range map[string]struct {
		handle func(conn net.Conn)
		beside []string
		want   string
	}{
		"HangsUp":     {say(""), nil, `^[A-F]: expected "Complex\.", got "": EOF$`},
		"HalfWay":     {say("Comp"), nil, `^[A-F]: expected "Complex\.", got "Comp": unexpected EOF$`},
		"SSH":         {say("SSH-2.0-OpenSSH_9.2\r\n"), nil, `^[A-F]: expected "Complex\.", got "SSH-2\.0-"$`},
		"Once":        {say(answer), nil, `^[A-F]: expected "Complex\.", got "": `},
		"Resets":      {reset, nil, `^[A-F]: expected "Complex\.", got "": `},
		"ResetsDeaf":  {reset, []string{"deaf"}, `^(deaf: |[A-F]: expected "Complex\.", got "": )`},
		"HangsUpAll":  {say(""), []string{"flood", "endless"}, `^((flood|endless): the server hung up: |[A-F]: expected "Complex\.", got "": )`},
		"NeverSpeaks": {func(conn net.Conn) { io.Copy(io.Discard, conn) }, nil, `^[A-F]: no answer within 70 ticks$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try(t, func(tick time.Duration) string {
				address := listen(t, each(func(_ int, conn net.Conn) { go test.handle(conn) }))
				got, err := draw(address, tick, test.beside...)
				if err != nil && regexp.MustCompile(test.want).MatchString(err.Error()) && regexp.MustCompile(`(?m:^[A-F].*!\n){6}$`).MatchString(got) {
					return ""
				}
				return fmt.Sprintf("%v, want %s\n%s", err, test.want, got)
			})
		})
	}
}

// A server that is down has no picture.
func TestDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if p, err := Start(listener.Addr().String(), 100*time.Millisecond); err == nil {
		t.Errorf("no error:\n%v", p)
	}
}
