package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// model returns the answers to a stream of bytes, all at once.
func model(stream []byte) string {
	var answers strings.Builder
	for _, question := range bytes.SplitAfter(stream, []byte("?")) {
		if len(question) > zen.MaxQuestion || !bytes.HasSuffix(question, []byte("?")) {
			break
		}
		answer, ok := zen.Aphorisms[string(question)]
		if !ok {
			answer = "Error: unknown aphorism."
		}
		answers.WriteString(answer)
	}
	return answers.String()
}

// randomStream returns questions known, unknown and empty, and half of one.
func randomStream(random *rand.Rand) []byte {
	pieces := []string{
		"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
		"?", "simple is better than?", "Flat is better than?", "\x00?", "\xff\xfe?", "优美优于?", "\r\n?",
		strings.Repeat("long ", zen.MaxQuestion/5) + "?", "Simple", "\n", "\xff\x00",
	}
	var stream []byte
	for range random.IntN(30) {
		stream = append(stream, pieces[random.IntN(len(pieces))]...)
	}
	return stream
}

// Whatever the bytes and wherever they are cut, the answers are the model's.
func TestFraming(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		random := rand.New(rand.NewPCG(7, 7))
		for range 40 {
			stream := randomStream(random)
			longest := 1 + random.IntN(1+len(stream))
			s.converse(t, stream, func() int { return 1 + random.IntN(longest) })
		}
		whole := func() int { return 1 << 30 }
		s.converse(t, []byte(strings.Repeat("Beautiful is better than?Explicit is better than??", 5000)), whole)
		s.converse(t, []byte("Beautiful is better than?Explicit is better than??\x00\xff?Simple"), func() int { return 1 })
		for _, length := range []int{zen.MaxQuestion, zen.MaxQuestion + 1} {
			long := strings.Repeat("x", length-1) + "?"
			for _, cut := range []int{1 << 30, zen.MaxQuestion, zen.MaxQuestion - 1, 1000, 1} {
				s.converse(t, []byte(question+long+question), func() int { return cut })
			}
		}
	})
}

// converse sends stream in pieces whose lengths come from cut, half-closes, and
// compares all that comes back with the model.
func (s *service) converse(t *testing.T, stream []byte, cut func() int) {
	t.Helper()
	conn := s.connect(t)
	defer conn.Close()
	var pieces [][]byte
	for rest := stream; len(rest) > 0; {
		n := min(cut(), len(rest))
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	go func() {
		for _, piece := range pieces {
			if _, err := conn.Write(piece); err != nil {
				return // a question was too long
			}
		}
		conn.CloseWrite()
	}()
	got, _ := io.ReadAll(conn) // a server that hangs up on somebody still talking resets
	if want := model(stream); string(got) != want {
		t.Fatalf("%s answers %.300q\nwith %.300q (%d bytes), want %.300q (%d bytes)", s.name, stream, got, len(got), want, len(want))
	}
}

// Each architecture serves as many clients at once as it says. One more can
// connect, asks, and waits until somebody leaves.
func TestClientsAtOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		var held []*net.TCPConn
		for range min(server.atOnce, 500) {
			conn := s.connect(t)
			if server.atOnce != anyNumber {
				ask(t, conn)
			}
			held = append(held, conn)
		}
		extra := s.connect(t)
		if server.atOnce == anyNumber {
			ask(t, extra)
			return
		}
		send(t, extra, question)
		expectNothing(t, extra)
		held[len(held)/2].Close()
		expect(t, extra, answer)
	})
}

// A client that half-closes gets every answer it is owed, then the end.
func TestHalfClose(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		for _, stream := range []string{"", question, question + question + "Beau", strings.Repeat("?", 100_000)} {
			conn := s.connect(t)
			go func() {
				io.WriteString(conn, stream)
				conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if want := model([]byte(stream)); string(got) != want || err != nil {
				t.Errorf("%.60q: %d bytes, %v; want %d and the end", stream, len(got), err, len(want))
			}
		}
	})
}

// reset ends a connection the hard way.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// A reset in any state is that client's end and nobody else's.
func TestResets(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		for _, leave := range []struct {
			state string
			reset func(conn *net.TCPConn)
		}{
			{"at once", func(conn *net.TCPConn) {}},
			{"in mid-question", func(conn *net.TCPConn) { send(t, conn, "Simple is") }},
			{"after an answer", func(conn *net.TCPConn) { ask(t, conn) }},
			{"after an answer, in mid-question", func(conn *net.TCPConn) { ask(t, conn); send(t, conn, "Simple is") }},
			{"answers unread", func(conn *net.TCPConn) {
				send(t, conn, strings.Repeat(question, 1000))
				expect(t, conn, answer)
			}},
			{"the server waiting to send", func(conn *net.TCPConn) { flood(t, conn) }},
			{"half-closed", func(conn *net.TCPConn) { send(t, conn, question); conn.CloseWrite() }},
		} {
			for range 5 {
				t.Log("reset:", leave.state)
				conn := s.connect(t)
				leave.reset(conn)
				reset(conn)
				s.serveOne(t)
			}
		}
	})
}

// flood asks empty questions until the server no longer reads them, and
// returns how many it took.
func flood(t *testing.T, conn net.Conn) (questions int) {
	t.Helper()
	conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
	chunk := bytes.Repeat([]byte("?"), 64<<10)
	for {
		conn.SetWriteDeadline(time.Now().Add(quiet))
		n, err := conn.Write(chunk)
		questions += n
		if err != nil {
			conn.SetWriteDeadline(time.Now().Add(2 * patience))
			return questions
		}
		if questions > 64<<20 {
			t.Fatalf("the server took %d questions from a client that reads no answer", questions)
		}
	}
}

// A client that never reads its answers is not read from either, holds up
// nobody that has a place, and finds every answer when it reads at last.
func TestClientThatNeverReads(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		sulker := s.connect(t)
		asked := flood(t, sulker)
		s.checkMemory(t)
		if server.atOnce > 1 {
			other := s.connect(t)
			for range 100 {
				ask(t, other)
			}
			other.Close()
		}
		const least = 200_000
		go func() {
			io.WriteString(sulker, strings.Repeat("?", max(0, least-asked)))
			sulker.CloseWrite()
		}()
		got, err := io.Copy(io.Discard, sulker)
		if want := int64(max(least, asked) * len("Error: unknown aphorism.")); got != want || err != nil {
			t.Errorf("read %d bytes of answers, %v; want %d", got, err, want)
		}
		s.checkMemory(t)
	})
}

// A question that does not end is cut off, and costs the server no memory.
func TestEndlessQuestion(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		conn := s.connect(t)
		go func() {
			io.WriteString(conn, question)
			chunk := bytes.Repeat([]byte("x"), 1<<20)
			for range 64 {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}()
		got, err := io.ReadAll(conn)
		if string(got) != answer {
			t.Errorf("read %q, %v; want one answer", got, err)
		}
		conn.Close()
		s.log.await(t, `error: question longer than 4096 bytes$`)
		s.serveOne(t)
		s.checkMemory(t)
	})
}

// The answers to the questions before the one that is too long reach a client
// that reads them only when it has sent everything.
func TestAnswersBeforeTheQuestionTooLong(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		for range 5 {
			conn := s.connect(t)
			send(t, conn, strings.Repeat(question, 10_000)+strings.Repeat("x", 64<<10))
			s.log.await(t, `error: question longer than 4096 bytes$`)
			got, err := io.ReadAll(conn)
			if want := strings.Repeat(answer, 10_000); string(got) != want {
				t.Errorf("read %d bytes, %v; want %d", len(got), err, len(want))
			}
			conn.Close()
		}
	})
}

// They reach it even if it goes on sending after the server has hung up.
func TestAnswersBeforeTheQuestionTooLongOfATalker(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		conn := s.connect(t)
		const asked = 16_000 // more answers than the client has room for
		send(t, conn, strings.Repeat("?", asked)+strings.Repeat("x", 5000))
		s.log.await(t, `error: question longer than 4096 bytes$`)
		for range 10 {
			conn.Write([]byte("y"))
		}
		got, err := io.Copy(io.Discard, conn)
		if want := int64(asked * len("Error: unknown aphorism.")); got != want {
			t.Errorf("read %d bytes, %v; want %d", got, err, want)
		}
	})
}

// checkMemory fails if the server has ever had more memory than one client
// could make it take.
func (s *service) checkMemory(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
		if err != nil {
			t.Logf("peak memory not checked: only Linux tells it (%v)", err)
			return
		}
		peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
		if peak == nil {
			continue // it has just ended
		}
		if kilobytes, _ := strconv.Atoi(string(peak[1])); kilobytes > 48<<10 {
			t.Errorf("%s took %d KiB of memory", s.name, kilobytes)
		}
	}
}

// limited wraps a program's command line so that it has 64 descriptors.
var limited = []string{"sh", "-c", `ulimit -n 64; exec "$0" "$@"`}

// A server with 64 descriptors and 200 clients says so, serves those that it
// has, waits without spinning, and takes others when some leave.
func TestDescriptorShortage(t *testing.T) {
	skipOnWindows(t, "descriptors are not limited by ulimit")
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server, limited...)
		first := s.connect(t)
		ask(t, first)
		var rest []*net.TCPConn
		for range 199 {
			rest = append(rest, s.connect(t))
		}
		last := rest[len(rest)-1]
		send(t, last, question)
		if server.atOnce == anyNumber && !server.processEach() {
			s.log.await(t, `^Accept error: too many open files; retrying in 1s$`)
		}
		if !server.processEach() {
			expectNothing(t, last)
		}
		for range 100 {
			ask(t, first)
		}
		first.Close()
		for _, conn := range rest[:len(rest)-1] {
			conn.Close()
		}
		expect(t, last, answer)
		lines, _ := s.log.read()
		if n := strings.Count(lines, "Accept error"); n > 30 {
			t.Errorf("%d accept errors: it spins", n)
		}
		if used := s.end(os.Kill); used > 700*time.Millisecond && !server.processEach() {
			t.Errorf("used %v of processor time: it spins", used)
		}
	})
}

// A descriptor that is not closed is missed at the 65th of 2,000 clients.
func TestDescriptorLeaks(t *testing.T) {
	skipOnWindows(t, "descriptors are not limited by ulimit")
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server, limited...)
		turns := 400
		if server.processEach() {
			turns = 20 // each of the 100 takes its descriptors with it
		}
		for range turns {
			s.serveOne(t)
			for _, data := range []string{"", "Simple is", question, strings.Repeat("x", 5000)} {
				conn := s.connect(t)
				send(t, conn, data)
				reset(conn)
			}
		}
		if lines, _ := s.log.read(); strings.Contains(lines, "Accept error") {
			t.Errorf("out of descriptors:\n%.500s", lines)
		}
	})
}

// The same clients leave the same lines in every server's log, addresses aside.
func TestLogs(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		lines, _ := s.log.read()
		before := strings.Count(lines, "\n") // it listens, or inetd does
		for i, client := range []struct {
			leave func(conn *net.TCPConn)
			want  string
		}{
			{func(conn *net.TCPConn) { ask(t, conn); conn.Close() }, `^Client socket to CLIENT has closed$`},
			{func(conn *net.TCPConn) { conn.Close() }, `^Client socket to CLIENT has closed$`},
			{func(conn *net.TCPConn) { send(t, conn, question+"Beau"); conn.CloseWrite() },
				`^Client CLIENT error: received "Beau" then socket closed$`},
			{func(conn *net.TCPConn) {
				send(t, conn, "\nListening at 6.6.6.6:1\r\n\x1b[2J\xff"+strings.Repeat("x", 100))
				conn.CloseWrite()
			},
				`^Client CLIENT error: received "\\nListening at 6\.6\.6\.6:1\\r\\n\\x1b\[2J\\xffx{10}" then socket closed$`},
			{func(conn *net.TCPConn) { send(t, conn, strings.Repeat("x", zen.MaxQuestion+1)) },
				`^Client CLIENT error: question longer than 4096 bytes$`},
			{func(conn *net.TCPConn) { ask(t, conn); send(t, conn, "Beau"); reset(conn) },
				`^Client CLIENT error: read: connection reset by peer$`},
			{func(conn *net.TCPConn) { flood(t, conn); reset(conn) },
				`^Client CLIENT error: write: connection reset by peer$`},
		} {
			conn := s.connect(t)
			address := regexp.QuoteMeta(conn.LocalAddr().String())
			s.log.await(t, "^Accepted connection from "+address+"$")
			client.leave(conn)
			if runtime.GOOS == "windows" && strings.Contains(client.want, "reset by peer") {
				client.want = "^Client CLIENT error: " // the words are the system's
			}
			s.log.await(t, strings.ReplaceAll(client.want, "CLIENT", address))
			if lines, _ := s.log.read(); strings.Count(lines, "\n") != before+2*(i+1) {
				t.Fatalf("after %d clients:\n%s", i+1, lines)
			}
			conn.Close()
		}
	})
}

// A server that is told to stop does, in the middle of a conversation, and so
// does one that is killed. The next one has its port at once.
func TestStopAndStartAgain(t *testing.T) {
	skipOnWindows(t, "there is no SIGTERM")
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Kill} {
		eachServer(t, func(t *testing.T, server server) {
			s := start(t, server)
			conn := s.connect(t)
			ask(t, conn)
			s.end(signal)
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("read from a server that has ended")
			}
			if server.underInetd() {
				return // the port is inetd's
			}
			host, port, _ := net.SplitHostPort(s.address)
			next := newService(t, server)
			next.address = s.address
			next.run(t, program(bin, server.name), "-p", port, host)
			next.log.await(t, "^Listening at "+regexp.QuoteMeta(s.address)+"$")
			next.serveOne(t)
		})
	}
}

// A handler of srv_legacy that panics loses its own client, says so, and no other
// client notices. Everywhere else the program ends.
func TestPanickingHandler(t *testing.T) {
	dir := rebuildPanicking(t)
	eachServer(t, func(t *testing.T, server server) {
		if server.underInetd() {
			return // see TestNothingButAnswers
		}
		s := startProgram(t, server, program(dir, server.name))
		victim := s.connect(t)
		ask(t, victim)
		if server.name == "srv_legacy" {
			other := s.connect(t)
			ask(t, other)
			defer ask(t, other)
		}
		send(t, victim, "Panic?")
		if rest, _ := io.ReadAll(victim); len(rest) > 0 {
			t.Errorf("the client of a handler that panics reads %q", rest)
		}
		if server.name == "srv_legacy" {
			s.log.await(t, "^Panic serving "+regexp.QuoteMeta(victim.LocalAddr().String())+": on purpose$")
			s.serveOne(t)
			return
		}
		s.log.await(t, "^panic: on purpose")
		s.awaitEnd(t, 2)
	})
}

// A descriptor's number is given to the next client the moment it is free, while
// others keep the server busy. Nobody is taken for the one before.
func TestReusedDescriptors(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		var clients sync.WaitGroup
		for i := range 16 {
			clients.Add(1)
			go func() {
				defer clients.Done()
				for turn := range 50 {
					conn, err := net.Dial("tcp", s.address)
					if err != nil {
						t.Error(err)
						return
					}
					conn.SetDeadline(time.Now().Add(patience))
					// Leave something that the next one must not get.
					if (i+turn)%2 == 0 {
						io.WriteString(conn, strings.Repeat("?", 1000)+"Beau")
						reset(conn.(*net.TCPConn))
						continue
					}
					got := make([]byte, 100)
					io.WriteString(conn, question)
					if n, err := conn.Read(got); string(got[:n]) != answer {
						t.Errorf("read %q, %v", got[:n], err)
					}
					conn.Close()
				}
			}()
		}
		clients.Wait()
	})
}

// A client that floods the server with questions, and reads its answers, does
// not starve one that asks now and then.
func TestFloodDoesNotStarve(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		if server.atOnce == 1 {
			return // the other one waits, as it should
		}
		s := start(t, server)
		flooder, other := s.connect(t), s.connect(t)
		done := make(chan struct{})
		go func() {
			chunk := bytes.Repeat([]byte(question), 3000)
			for {
				select {
				case <-done:
					flooder.CloseWrite()
					return
				default:
					flooder.Write(chunk)
				}
			}
		}()
		flooded := make(chan int64)
		go func() {
			n, _ := io.Copy(io.Discard, flooder)
			flooded <- n
		}()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 25 {
			<-tick.C
			ask(t, other)
		}
		close(done)
		if n := <-flooded; n < 100_000 {
			t.Errorf("the flooder got only %d bytes: no flood", n)
		}
	})
}

// Where an answer takes time, a server makes as many clients wait as it has no
// thread for: the reason for threads. An event loop has one for all of them.
func TestThinkingTime(t *testing.T) {
	const thinking, clients = 100 * time.Millisecond, 8
	dir := rebuild(t, "zen/zen.go", "ThinkingTime = 0 * time.Second", "ThinkingTime = 100 * time.Millisecond")
	eachServer(t, func(t *testing.T, server server) {
		s := startProgram(t, server, program(dir, server.name))
		begin := time.Now()
		var all sync.WaitGroup
		for range clients {
			conn := s.connect(t)
			all.Add(1)
			go func() {
				defer all.Done()
				io.WriteString(conn, question)
				if n, err := io.ReadFull(conn, make([]byte, len(answer))); err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
				conn.Close()
			}()
		}
		all.Wait()
		took := time.Since(begin)
		turns := (clients + server.thinking - 1) / server.thinking
		if least := time.Duration(turns) * thinking; took < least {
			t.Errorf("%d clients took %v, want at least %v", clients, took, least)
		}
		if most := clients * thinking; server.thinking > 1 && took >= most {
			t.Errorf("%d clients took %v, want less than %v, one after the other", clients, took, most)
		}
	})
}

// Many clients at once, each with questions of its own, get their own answers.
func TestManyClients(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		var clients sync.WaitGroup
		for i := range 32 {
			clients.Add(1)
			go func() {
				defer clients.Done()
				random := rand.New(rand.NewPCG(uint64(i), 0))
				for range 5 {
					s.converse(t, randomStream(random), func() int { return 1 + random.IntN(100) })
				}
			}()
		}
		clients.Wait()
	})
}

func skipOnWindows(t *testing.T, why string) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: " + why)
	}
}
