package zentest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// model returns the answers to a stream of bytes, seen as a whole.
func model(stream string) string {
	var answers strings.Builder
	for _, question := range strings.SplitAfter(stream, "?") {
		if len(question) > zen.MaxQuestion || !strings.HasSuffix(question, "?") {
			break
		}
		answer, known := zen.Aphorisms[question]
		if !known {
			answer = unknown
		}
		answers.WriteString(answer)
	}
	return answers.String()
}

// exchange sends stream in pieces, with a length from cut for each, closes its
// side, and compares everything that comes back with the model.
func (s *service) exchange(t testing.TB, stream string, cut func() int) {
	t.Helper()
	conn := s.connect(t)
	defer conn.Close()
	var pieces []string // cut is called here, not in the goroutine, which may outlive this call
	for rest := stream; len(rest) > 0; {
		n := min(cut(), len(rest))
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	go func() {
		for _, piece := range pieces {
			if _, err := io.WriteString(conn, piece); err != nil {
				return // a question was too long
			}
		}
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if want := model(stream); string(got) != want {
		t.Fatalf("the answers to %.100q (%d bytes) are %.100q (%d bytes), %v; want %.100q (%d bytes)",
			stream, len(stream), got, len(got), err, want, len(want))
	}
}

func whole() int   { return 1 << 30 }
func oneByte() int { return 1 }

func answers(t testing.TB, server Server) {
	s := start(t, server, options{})
	conn := s.connect(t)
	for _, question := range []string{
		"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
		"?", "Flat is better than?", "simple is better than?", " Simple is better than?",
		"\nSimple is better than?", "\x00?", "\xff\xfe?", "优美优于?", "Simple is better than\r\n?",
	} {
		send(t, conn, question)
		expect(t, conn, model(question))
	}
	conn.Close()
	s.serveOne(t)
}

// randomStream returns known, unknown and empty questions, and perhaps a part of
// one at the end.
func randomStream(random *rand.Rand) string {
	pieces := []string{
		"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
		"?", "simple is better than?", "\x00?", "\xff\xfe?", "优美优于?", "\r\n?",
		strings.Repeat("long ", 200) + "?", "Simple", "\n", "\xff\x00",
	}
	var stream strings.Builder
	for range random.IntN(30) {
		stream.WriteString(pieces[random.IntN(len(pieces))])
	}
	return stream.String()
}

func framing(t testing.TB, server Server) {
	s := start(t, server, options{})
	conn := s.connect(t)
	send(t, conn, "Beautiful is better than?Explicit is better")
	expect(t, conn, "Ugly.")
	expectNothing(t, conn)
	send(t, conn, " than?Simple is better than")
	expect(t, conn, "Implicit.")
	expectNothing(t, conn)
	send(t, conn, "?")
	expect(t, conn, "Complex.")
	conn.Close()
	s.exchange(t, strings.Repeat("Beautiful is better than?Explicit is better than??", 2000), whole)
	s.exchange(t, "Beautiful is better than?Explicit is better than??\x00\xff?Simple", oneByte)
	random := rand.New(rand.NewPCG(7, 7))
	for range 40 {
		stream := randomStream(random)
		longest := 1 + random.IntN(1+len(stream))
		s.exchange(t, stream, func() int { return 1 + random.IntN(longest) })
	}
}

func longestQuestion(t testing.TB, server Server) {
	s := start(t, server, options{})
	for length := zen.MaxQuestion - 1; length <= zen.MaxQuestion+1; length++ {
		for _, piece := range []int{length, zen.MaxQuestion, zen.MaxQuestion - 1, 1000, 7} {
			conn := s.connect(t)
			ask(t, conn)
			for rest := strings.Repeat("x", length-1) + "?"; rest != ""; {
				n := min(piece, len(rest))
				io.WriteString(conn, rest[:n]) // fails if the server has hung up
				rest = rest[n:]
			}
			if length <= zen.MaxQuestion {
				expect(t, conn, unknown)
				ask(t, conn)
			} else if got, err := io.ReadAll(conn); len(got) > 0 || os.IsTimeout(err) {
				t.Fatalf("to a question of %d bytes: read %.60q, %v; want the end", length, got, err)
			}
			conn.Close()
		}
	}
	conn := s.connect(t) // and a long question without its '?'
	ask(t, conn)
	send(t, conn, strings.Repeat("x", zen.MaxQuestion+1))
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("to a question without an end: read %.60q, %v; want the end", got, err)
	}
}

func endlessQuestion(t testing.TB, server Server) {
	s := start(t, server, options{})
	conn := s.connect(t)
	ask(t, conn)
	go func() {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 200 {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
		t.Fatal("the server does not hang up")
	}
	s.checkMemory(t, 100)
	conn.Close()
	s.serveOne(t)
}

func halfClose(t testing.TB, server Server) {
	s := start(t, server, options{})
	for _, questions := range []int{0, 1, 100} {
		for _, last := range []string{"", "Beau", question} {
			conn := s.connect(t)
			for range questions {
				ask(t, conn)
			}
			send(t, conn, last)
			conn.CloseWrite()
			if got, err := io.ReadAll(conn); string(got) != model(last) || err != nil {
				t.Fatalf("after %d questions and %q: read %q, %v; want %q and the end", questions, last, got, err, model(last))
			}
			conn.Close()
		}
	}
}

// hangUp sends too long a question behind answers that the client reads late, and
// goes on sending.
func hangUp(t testing.TB, server Server) {
	s := start(t, server, options{})
	for range 5 {
		const asked = 2000 // 48 KB of answers fit into the buffers of every system
		conn := s.connect(t)
		conn.SetReadBuffer(4 << 10) // so that most of them wait on the server's side
		send(t, conn, strings.Repeat("?", asked)+strings.Repeat("x", 3*zen.MaxQuestion))
		if server.ours() {
			s.log.await(t, "^Client "+regexp.QuoteMeta(conn.LocalAddr().String())+" error: question longer than 4096 bytes$")
		} else {
			expect(t, conn, unknown)
		}
		for range 3 {
			conn.Write([]byte("y")) // fails if the server has closed
		}
		conn.SetReadBuffer(256 << 10)
		got, err := io.Copy(io.Discard, conn)
		if !server.ours() {
			got += int64(len(unknown))
		}
		if want := int64(asked * len(unknown)); got != want {
			t.Fatalf("read %d bytes, %v; want %d", got, err, want)
		}
		conn.Close()
	}
	// The end comes at once, and the server does not close before the client does.
	for tries := 1; ; tries++ {
		conn := s.connect(t)
		send(t, conn, strings.Repeat("x", zen.MaxQuestion+1))
		io.Copy(io.Discard, conn)
		conn.Write([]byte("y"))
		time.Sleep(quiet) // an answer to this may reset the connection
		_, err := conn.Write([]byte("y"))
		if err == nil {
			break
		}
		if tries == 3 { // a slow machine may need more than the second of the server
			t.Fatalf("the server closes when it hangs up: %v", err)
		}
	}
	// The client has not closed yet. Others are served, after a second at most.
	s.serveOne(t)
}

func resets(t testing.TB, server Server) {
	s := start(t, server, options{})
	for _, state := range []struct {
		name  string
		reach func(conn *net.TCPConn)
	}{
		{"at once", func(*net.TCPConn) {}},
		{"in the middle of a question", func(conn *net.TCPConn) { send(t, conn, "Simple is") }},
		{"after an answer", func(conn *net.TCPConn) { ask(t, conn) }},
		{"after an answer, in the middle of a question", func(conn *net.TCPConn) { ask(t, conn); send(t, conn, "Simple is") }},
		{"with answers unread", func(conn *net.TCPConn) {
			ask(t, conn)
			send(t, conn, strings.Repeat(question, 1000))
		}},
		{"while the server waits to send", func(conn *net.TCPConn) { fill(t, s, conn) }},
		{"half-closed", func(conn *net.TCPConn) { send(t, conn, question); conn.CloseWrite() }},
		{"after too long a question", func(conn *net.TCPConn) { send(t, conn, strings.Repeat("x", 5000)) }},
	} {
		for range 3 {
			t.Log("a reset", state.name)
			conn := s.connect(t)
			state.reach(conn)
			reset(conn)
			s.serveOne(t)
		}
	}
}

// fill asks, and reads no answer, until the server reads no more. It returns how
// many questions the server and the system have taken.
func fill(t testing.TB, s *service, conn *net.TCPConn) (questions int) {
	t.Helper()
	conn.SetWriteBuffer(16 << 10)
	conn.SetReadBuffer(16 << 10)
	chunk := bytes.Repeat([]byte("?"), 16<<10)
	for stalled := 0; stalled < 3; stalled++ {
		conn.SetWriteDeadline(time.Now().Add(quiet))
		n, err := conn.Write(chunk)
		if questions += n; n > 0 {
			stalled = 0
		}
		if err != nil && !os.IsTimeout(err) {
			t.Fatalf("the server closes the connection of a client that reads no answer: %v", err)
		}
		if questions > 16<<20 {
			t.Fatalf("the server has taken %d questions from a client that reads no answer", questions)
		}
	}
	conn.SetWriteDeadline(time.Now().Add(patience))
	return questions
}

func neverReads(t testing.TB, server Server) {
	s := start(t, server, options{})
	silent := s.connect(t)
	asked := fill(t, s, silent)
	s.checkMemory(t, 100)
	other := s.connect(t)
	if server.atLeast(2) {
		for range 100 {
			ask(t, other)
		}
		// Many answers to the other client must not overwrite those that wait.
		const first = "Beautiful is better than?" // so that the answers are not in step
		burst := first + strings.Repeat("?", zen.MaxQuestion-len(first))
		send(t, other, burst)
		expect(t, other, model(burst))
	}
	silent.CloseWrite()
	expectAnswers(t, silent, asked, 64<<10)
	silent.Close()
	ask(t, other)
	s.checkMemory(t, 100)
}

func slowReader(t testing.TB, server Server) {
	s := start(t, server, options{})
	conn := s.connect(t)
	asked := fill(t, s, conn)
	conn.SetReadBuffer(256 << 10)
	conn.CloseWrite()
	expectAnswers(t, conn, asked, 3000)
}

// expectAnswers reads the answers to so many unknown questions, piece by piece,
// and then the end.
func expectAnswers(t testing.TB, conn net.Conn, questions, piece int) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	period := strings.Repeat(unknown, 2+piece/len(unknown))
	want := questions * len(unknown)
	for got, data := 0, make([]byte, piece); ; runtime.Gosched() {
		n, err := conn.Read(data)
		if from := got % len(unknown); string(data[:n]) != period[from:from+n] {
			t.Fatalf("after %d bytes of answers: read %.60q, want %.60q", got, data[:n], period[from:])
		}
		got += n
		if err == io.EOF && got == want {
			return
		}
		if err != nil {
			t.Fatalf("read %d bytes of answers, %v; want %d bytes and the end", got, err, want)
		}
	}
}

func atOnce(t testing.TB, server Server) {
	s := start(t, server, options{})
	var held []*net.TCPConn
	for range server.some(50) {
		conn := s.connect(t)
		ask(t, conn)
		held = append(held, conn)
	}
	for _, conn := range held {
		ask(t, conn)
	}
	if server.AtOnce == 0 {
		return
	}
	extra := s.connect(t)
	send(t, extra, question)
	for range 3 {
		expectNothing(t, extra)
	}
	held[len(held)/2].Close()
	expect(t, extra, answer)
}

func flood(t testing.TB, server Server) {
	s := start(t, server, options{})
	flooder := s.connect(t)
	ask(t, flooder)
	other := s.connect(t)
	done := make(chan struct{})
	go func() {
		chunk := []byte(strings.Repeat(question, 3000))
		for {
			select {
			case <-done:
				flooder.CloseWrite()
				return
			default:
				flooder.SetDeadline(time.Now().Add(patience))
				flooder.Write(chunk)
			}
		}
	}()
	flooded := make(chan int) // the bytes of each read
	go func() {
		defer close(flooded)
		answers := make([]byte, 64<<10)
		for {
			n, err := flooder.Read(answers)
			if err != nil {
				return
			}
			flooded <- n
		}
	}()
	// flows waits until the flooder has read some more answers.
	flows := func() {
		for bytes := 0; bytes < 100_000; {
			select {
			case n, ok := <-flooded:
				if !ok {
					t.Fatal("the flood has ended by itself")
				}
				bytes += n
			case <-time.After(patience):
				t.Fatal("a client that floods the server gets no answers")
			}
		}
	}
	for range 25 {
		flows()
		ask(t, other)
	}
	close(done)
	for range flooded {
	}
	flooder.Close()
	ask(t, other)
}

func ownAnswers(t testing.TB, server Server) {
	s := start(t, server, options{})
	questions := slices.Sorted(maps.Keys(zen.Aphorisms))
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for turn := range 8 {
				if (i+turn)%2 == 0 { // leave something that the next client must not get
					conn := s.connect(t)
					io.WriteString(conn, strings.Repeat("?", 1000)+"Beau")
					reset(conn)
				}
				conn := s.connect(t)
				for n := range 10 {
					question := questions[(i+turn+n)%len(questions)]
					half := (i + n) % len(question)
					io.WriteString(conn, question[:half])
					io.WriteString(conn, question[half:])
					want := zen.Aphorisms[question]
					got := make([]byte, len(want))
					if n, err := io.ReadFull(conn, got); string(got[:n]) != want {
						t.Errorf("the answer to %q is %q, %v; want %q", question, got[:n], err, want)
						conn.Close()
						return
					}
				}
				conn.Close()
			}
		}()
	}
	clients.Wait()
}

func descriptors(t testing.TB, server Server) {
	skipOnWindows(t, "ulimit does not limit descriptors")
	s := start(t, server, options{descriptors: 64})
	first := s.connect(t)
	ask(t, first)
	var rest []*net.TCPConn
	const clients = 90 // those that are not accepted fit into a small queue
	for range clients {
		rest = append(rest, s.connect(t))
	}
	if server.ours() {
		s.log.await(t, `^Accept error: too many open files; retrying in 1s$`)
	}
	for end := time.Now().Add(20 * quiet); time.Now().Before(end); {
		expectNothing(t, first)
	}
	for range 100 {
		ask(t, first)
	}
	first.Close()
	for _, conn := range rest {
		conn.Close()
	}
	s.serveOne(t)
	text, _ := s.log.read()
	if n := strings.Count(text, "Accept error"); n > 50 {
		t.Errorf("%d accept errors: the server spins", n)
	}
	if used := s.end(t, os.Kill); used > 12*quiet {
		t.Errorf("the server has used %v of processor time to wait for %v: it spins", used, 20*quiet)
	}
}

func noLeak(t testing.TB, server Server) {
	skipOnWindows(t, "ulimit does not limit descriptors")
	s := start(t, server, options{descriptors: 64})
	for range 40 {
		s.serveOne(t)
		for _, data := range []string{"", "Simple is", question, strings.Repeat("x", 5000)} {
			conn := s.connect(t)
			send(t, conn, data)
			reset(conn)
		}
	}
	s.serveOne(t)
	if text, _ := s.log.read(); server.ours() && strings.Contains(text, "Accept error") {
		t.Errorf("descriptors are missing:\n%.500s", text)
	}
}

func noSpin(t testing.TB, server Server) {
	s := start(t, server, options{})
	var held []*net.TCPConn
	for range server.some(3) {
		conn := s.connect(t)
		ask(t, conn)
		send(t, conn, "Beau")
		held = append(held, conn)
	}
	fill(t, s, held[0])
	if server.atLeast(len(held) + 1) {
		gone := s.connect(t)
		ask(t, gone)
		reset(gone)
	}
	time.Sleep(40 * quiet) // this must not take processor time
	if used := s.end(t, os.Kill); used > 10*quiet {
		t.Errorf("the server has used %v of processor time in %v without anything to do", used, 40*quiet)
	}
}

// memory is not for the race detector, which keeps memory for what is freed too.
func memory(t testing.TB, server Server) {
	s := start(t, server, options{})
	var held []*net.TCPConn
	for range server.some(250) {
		conn := s.connect(t)
		ask(t, conn)
		held = append(held, conn)
	}
	before := s.residentMemory(t)
	for _, conn := range held {
		send(t, conn, strings.Repeat("x", zen.MaxQuestion-1))
	}
	for _, conn := range held {
		send(t, conn, "?")
		expect(t, conn, unknown)
		burst := 2000 // 48 KB of answers
		send(t, conn, strings.Repeat("?", burst))
		expect(t, conn, strings.Repeat(unknown, burst))
	}
	const limit = 9 << 20 // 36 KB for each of 250
	if grown := s.residentMemory(t) - before; grown > limit {
		t.Errorf("%d silent clients keep %d bytes each after a burst", len(held), grown/len(held))
	}
}

func signals(t testing.TB, server Server) {
	if len(harmless) == 0 {
		t.Skip("SKIPPED on Windows: there are no such signals")
	}
	s := start(t, server, options{})
	conn := s.connect(t)
	for range 100 {
		for _, signal := range harmless {
			s.signal(signal)
		}
		ask(t, conn)
	}
}

func stop(t testing.TB, server Server) {
	ends := []os.Signal{os.Kill}
	if runtime.GOOS != "windows" {
		ends = append(ends, terminate)
	}
	for _, signal := range ends {
		s := start(t, server, options{})
		conn := s.connect(t)
		ask(t, conn)
		s.end(t, signal)
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || os.IsTimeout(err) {
			t.Errorf("after %v: read %d bytes, %v; want the end", signal, n, err)
		}
		start(t, server, options{address: s.address}).serveOne(t)
	}
}

// What the system says of a broken connection differs.
const broken = `(read|write): (connection reset by peer|broken pipe|.*forcibly closed.*|.*aborted.*)`

func logLines(t testing.TB, server Server) {
	s := start(t, server, options{})
	text, _ := s.log.read()
	lines := strings.Count(text, "\n") // Listening
	for _, client := range []struct {
		leave func(conn *net.TCPConn)
		want  string
	}{
		{func(conn *net.TCPConn) { ask(t, conn); conn.Close() }, `Client socket to CLIENT has closed`},
		{func(conn *net.TCPConn) { conn.Close() }, `Client socket to CLIENT has closed`},
		{func(conn *net.TCPConn) { send(t, conn, question+"Beau"); conn.CloseWrite() },
			`Client CLIENT error: received "Beau" then socket closed`},
		{func(conn *net.TCPConn) {
			send(t, conn, "\nListening at 6.6.6.6:1\r\n\x1b[2J\xff"+strings.Repeat("x", 100))
			conn.CloseWrite()
		}, `Client CLIENT error: received "\\nListening at 6\.6\.6\.6:1\\r\\n\\x1b\[2J\\xffx{10}" then socket closed`},
		{func(conn *net.TCPConn) { send(t, conn, strings.Repeat("x", zen.MaxQuestion+1)) },
			`Client CLIENT error: question longer than 4096 bytes`},
		{func(conn *net.TCPConn) { ask(t, conn); send(t, conn, "Beau"); reset(conn) }, `Client CLIENT error: ` + broken},
		{func(conn *net.TCPConn) { fill(t, s, conn); reset(conn) }, `Client CLIENT error: ` + broken},
	} {
		conn := s.connect(t)
		address := regexp.QuoteMeta(conn.LocalAddr().String())
		s.log.await(t, "^Accepted connection from "+address+"$")
		client.leave(conn)
		s.log.await(t, "^"+strings.ReplaceAll(client.want, "CLIENT", address)+"$")
		conn.Close()
		if text, _ := s.log.read(); strings.Count(text, "\n") != lines+2 {
			t.Fatalf("want 2 more lines than %d:\n%s", lines, text)
		}
		lines += 2
	}
}

func commandLine(t testing.TB, server Server) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	server.checkCommandLine(t, []string{"127.0.0.1", "-p", port}, `^listen tcp 127\.0\.0\.1:\d+: bind: `)
}

// CheckCommandLine tries bad arguments on a program that is not a server. The
// arguments in failing are valid, but the program must fail with an error that
// matches line.
func CheckCommandLine(t testing.TB, failing []string, line string) {
	t.Helper()
	Server{}.checkCommandLine(t, failing, line)
}

func (server Server) checkCommandLine(t testing.TB, failing []string, line string) {
	t.Helper()
	for _, row := range []struct {
		args   []string
		status int
		line   string // the first line of standard error
	}{
		{[]string{"-h"}, 0, `^usage: NAME \[flags\] host$`},
		{[]string{"localhost", "-h"}, 0, `^usage: NAME \[flags\] host$`},
		{nil, 2, `^expected one host, got \[\]$`},
		{[]string{"-p", "1060"}, 2, `^expected one host, got \[\]$`},
		{[]string{"localhost", "1060"}, 2, `^expected one host, got \["localhost" "1060"\]$`},
		{[]string{"localhost", "-p", "1060", "ho\nst"}, 2, `^expected one host, got \["localhost" "ho\\nst"\]$`},
		{[]string{"a\nb\x1b[31m"}, 2, `^expected one host, got \["a\\nb\\x1b\[31m"\]$`},
		{[]string{"-x", "localhost"}, 2, `^flag provided but not defined: -x$`},
		{[]string{"localhost", "-x"}, 2, `^flag provided but not defined: -x$`},
		{[]string{"localhost", "-p"}, 2, `^flag needs an argument: -p$`},
		{[]string{"-p", "65536", "localhost"}, 2, `^invalid value "65536" for flag -p: not a port$`},
		{[]string{"localhost", "-p", "-1"}, 2, `^invalid value "-1" for flag -p: not a port$`},
		{[]string{"-p", "zen", "localhost"}, 2, `^invalid value "zen" for flag -p: not a port$`},
		{[]string{"-p", "", "localhost"}, 2, `^invalid value "" for flag -p: not a port$`},
		{[]string{"no-such-host.invalid", "-p", "0"}, 1, `no-such-host.invalid`},
		{failing, 1, line},
	} {
		stdout, stderr, _, status := server.run(t, nil, row.args...)
		first, rest, _ := strings.Cut(stderr, "\n")
		want := strings.ReplaceAll(row.line, "NAME", programName())
		if stdout != "" || status != row.status || !regexp.MustCompile(want).MatchString(first) {
			t.Errorf("%q: status %d, standard output %q, standard error\n%swant status %d and %s", row.args, status, stdout, stderr, row.status, want)
		}
		if usage := strings.Contains(stderr, "usage: "+programName()+" "); usage != (row.status != 1) || !usage && rest != "" {
			t.Errorf("%q: status %d, but usage: %v\n%s", row.args, status, usage, stderr)
		}
	}
}

func hosts(t testing.TB, server Server) {
	for _, host := range []struct{ listen, address, dial string }{
		{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, "127.0.0.1"},
		{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, "localhost"},
		{"localhost", `127\.0\.0\.1:(\d+)|\[::1\]:(\d+)`, "localhost"},
		{"::1", `\[::1\]:(\d+)`, "::1"},
	} {
		if host.listen == "::1" {
			listener, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				t.Skip("SKIPPED in part: this machine has no IPv6")
			}
			listener.Close()
		}
		s := start(t, server, options{arguments: []string{"-p", "0", host.listen}})
		match := s.log.await(t, `^Listening at (?:`+host.address+`)$`)
		s.address = net.JoinHostPort(host.dial, strings.Join(match[1:], ""))
		s.serveOne(t)
		s.log.await(t, `^Accepted connection from (127\.0\.0\.1|\[::1\]):\d+$`)
	}
}

func permanentError(t testing.TB, server Server) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux lets a program destroy a socket that listens")
	}
	s := start(t, server, options{environment: []string{destroyVariable + "=^Accepted"}})
	conn := s.connect(t)
	s.log.await(t, `^Accepted`) // inetd has started the program
	conn.Close()                // srv_single accepts again only then
	s.expectEnd(t, 1)
	s.log.await(t, `^accept.*invalid argument$`)
	text, _ := s.log.read()
	if n := len(regexp.MustCompile(`(?m)^accept.*invalid argument$`).FindAllString(text, -1)); n != 1 || strings.Contains(text, "retrying") {
		t.Errorf("log:\n%s", text)
	}
}

func thinkingTime(t testing.TB, server Server) {
	clients, atOnce := 6, 6
	if server.Thinking > 0 {
		clients, atOnce = server.Thinking+1, server.Thinking
	}
	for thinking := time.Second / 2; ; thinking *= 2 { // a slow machine needs more
		took := timeClients(t, server, clients, thinking)
		for i, d := range took {
			if turns := time.Duration(1 + i/atOnce); d < turns*thinking {
				t.Fatalf("with %v for an answer, %d clients are answered after %v: it thinks for more than %d at once", thinking, clients, took, atOnce)
			}
		}
		if took[atOnce-1] < 2*thinking {
			return
		}
		if thinking > 1500*time.Millisecond {
			t.Fatalf("with %v for an answer, %d clients are answered after %v: it thinks for fewer than %d at once", thinking, clients, took, atOnce)
		}
	}
}

// timeClients lets clients ask a question at the same time, and returns when the
// first has its answer, the second, and so on.
func timeClients(t testing.TB, server Server, clients int, thinking time.Duration) (took []time.Duration) {
	s := start(t, server, options{environment: []string{thinkingVariable + "=" + thinking.String()}})
	defer s.stop(t)
	answered := make(chan time.Duration, clients)
	begin := time.Now()
	for range clients {
		conn := s.connect(t)
		send(t, conn, question)
		go func() {
			defer conn.Close()
			if n, err := io.ReadFull(conn, make([]byte, len(answer))); err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			answered <- time.Since(begin)
		}()
	}
	for range clients {
		took = append(took, <-answered)
	}
	return took
}

func nothingButAnswers(t testing.TB, server Server) {
	write := func(path string) error { return os.WriteFile(path, []byte("precious"), 0o666) }
	for what, plant := range map[string]func(path string) error{
		"nothing":                  func(path string) error { return nil },
		"a directory":              func(path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":                   makePipe,
		"a symlink to nothing":     func(path string) error { return os.Symlink(path+".victim", path) },
		"a symlink to a file":      func(path string) error { return errors.Join(write(path+".victim"), os.Symlink(path+".victim", path)) },
		"a second name of a file":  func(path string) error { return errors.Join(write(path+".victim"), os.Link(path+".victim", path)) },
		"a file that is read-only": func(path string) error { return os.WriteFile(path, nil, 0o444) },
	} {
		s := start(t, server, options{})
		path := s.dir + "/zen.log"
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		pipe, _ := os.OpenFile(path, os.O_RDWR, 0) // fails if it is no pipe or file
		s.exactAnswers(t)
		if what == "a pipe" {
			pipe.SetReadDeadline(time.Now().Add(quiet))
			if n, err := pipe.Read(make([]byte, 100)); n > 0 || !os.IsTimeout(err) {
				t.Errorf("it writes %d bytes to a pipe, %v", n, err)
			}
		}
		pipe.Close()
		if victim, err := os.ReadFile(path + ".victim"); err == nil && string(victim) != "precious" {
			t.Errorf("with %s for a log, it writes %q to another file", what, victim)
		}
		if what == "nothing" {
			s.log.awaitTimes(t, 5, "^(Accepted connection from |Client )")
			if status, err := os.Stat(path); err != nil || status.Mode().Perm() != 0o644 {
				t.Errorf("the log: %v, %v; want one that only its owner may write", status.Mode(), err)
			}
		}
		s.stop(t)
	}
	// A panic goes to the log too.
	s := start(t, server, options{environment: []string{panicVariable + "=^Client .* error: received"}})
	conn := s.connect(t)
	ask(t, conn)
	panicking := s.signal(nothing)
	send(t, conn, question+"Beau")
	conn.CloseWrite()
	if got, _ := io.ReadAll(conn); string(got) != answer {
		t.Errorf("of a server that panics the client reads %q", got)
	}
	s.log.await(t, `^panic: on purpose`)
	<-panicking[0]
	s.serveOne(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) != 1 || s.failures[0] != "the server has ended: exit status 2" {
		t.Errorf("%q, want one panic", s.failures)
	}
	s.failures = nil
}

// exactAnswers compares all that some clients read with what they should.
func (s *service) exactAnswers(t testing.TB) {
	t.Helper()
	for _, data := range []string{"", question, question + "Beau", "\x00\xff?" + question, question + strings.Repeat("x", 5000)} {
		s.exchange(t, data, whole)
	}
}

func skipOnWindows(t testing.TB, why string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: " + why)
	}
}
