package zentest

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// A fault is a server that breaks a rule.
type fault struct {
	rule   string
	name   string // a server that …
	says   string // matches a part of the failure
	main   func()
	server Server
}

var faults = []fault{
	{"Answers", "trims spaces", `sent " Simple.*\n.*and got "Complex\."`, received(bytes.TrimSpace), Server{}},
	{"Answers", "drops newlines", `sent "\\nSimple.*\n.*and got "Complex\."`, received(withoutNewlines), Server{}},
	{"Framing", "takes a read for a question", `Explicit is better"\.\n.*and got "Error`, talk(readIsQuestion), Server{}},
	{"LongestQuestion", "has no limit", `4097 bytes .*\n.*expected the end and got "Error`, talk(withoutLimit), Server{}},
	{"LongestQuestion", "has a smaller limit", `4096 bytes.*\n.*and got "", then the end`, talk(smallerLimit), Server{}},
	{"EndlessQuestion", "has no limit", `sent 200 MB .*\n.*expected the end and got "", then nothing`, talk(withoutLimit), Server{}},
	{"HalfClose", "loses answers at a half-close", `closed its side\.\n.*expected the end\. It expected "Complex\." and got ""`, sent(later), Server{}},
	{"HalfClose", "never closes its side", `then nothing happened`, talk(neverCloses), Server{}},
	{"HangUp", "closes at once", `read late, and got \d+ of 48000 bytes`, talk(closesAtOnce), Server{}},
	{"HangUp", "closes after an answer", `has not waited until the client closed|read late`, talk(closesAfterwards), Server{}},
	{"Reset", "dies on a reset", `After a client that sent a reset|cannot connect`, talk(diesOnReset), Server{}},
	{"NeverReads", "keeps what a client sends", `read no answer; it expected the server to stop reading`, talk(withoutLimit), Server{}},
	{"SlowReader", "loses answers behind a slow reader", `expected \d+ bytes of answers, then the end, and got \d+ bytes`, sentOn(losesAnswers), Server{}},
	{"AtOnce", "serves any number", `one more connected.*\n.*expected nothing yet and got "Complex\."`, serve, Server{AtOnce: 4}},
	{"AtOnce", "serves one client", `Client number 2 of 4 .*\n.*then nothing happened`, servesOne, Server{AtOnce: 4}},
	{"AtOnce", "serves one client, and should serve all", `Client number 2 of 50 .*\n.*then nothing happened`, servesOne, Server{}},
	{"Flood", "starves the others", `Beside one that floods .*\n.*then nothing happened`, talk(starvesOthers), Server{}},
	{"OwnAnswers", "mixes the clients", `One of 16 clients`, talk(answered(mixesClients)), Server{}},
	{"Descriptors", "dies without descriptors", `error|the end|ended`, withoutRetry(func(err error) { log.Fatal(err) }), Server{}},
	{"Descriptors", "is deaf after a shortage", `came after the others.*\n.*nothing happened`, withoutRetry(deaf), Server{}},
	{"Descriptors", "spins in a shortage", `it spins`, withoutRetry(retriesAtOnce), Server{}},
	{"NoLeak", "leaks descriptors", `64 descriptors|nothing happened`, talk(leaksDescriptor), Server{}},
	{"NoSpin", "spins", `had nothing to do .*: it spins`, spins, Server{}},
	{"Memory", "keeps memory after a burst", `keeps \d+ bytes for each`, sent(keeps), Server{}},
	{"Signals", "ends by a signal", `ended|error|the end`, endsBySignal, Server{}},
	{"Stop", "ignores SIGTERM", `does not end within .* by the signal terminated`, ignoresSIGTERM, Server{}},
	{"Stop", "keeps its port for a minute", `does not start`, keepsPort, Server{}},
	{"Log", "logs another line", `should have 1 lines that match .*has closed`, talk(logsBye), Server{}},
	{"Log", "logs what a client sends", `should have 2 more lines|\n.*it has 0`, received(logged), Server{}},
	{"LogReaderLeaves", "ends when the reader of its log leaves", `ended|error|the end|cannot connect`, endsWithoutLog, Server{}},
	{"CommandLine", "exits with another status", `exit with status 2`, exitsWithOne, Server{}},
	{"CommandLine", "does not list -think", `a usage with "\\n  -think "`, hidesFlag, Server{}},
	{"Hosts", "listens at one interface", `should have 1 lines that match \^Listening`, listensAtOne, Server{}},
	{"PermanentError", "retries for ever", `has not ended`, withoutRetry(retriesForEver), Server{}},
	{"ThinkingTime", "thinks for any number", `more than 2 at once`, serve, Server{Thinking: 2}},
	{"ThinkingTime", "thinks for one client", `fewer than 2 at once`, talk(answered(thinksForOne)), Server{Thinking: 2}},
	{"NothingButAnswers", "logs to its client", `got "Hello`, logsToClient, Server{Inetd: "nowait"}},
	{"NothingButAnswers", "follows links", `writes "overwritten" to another file`, followsLinks, Server{Inetd: "nowait"}},
}

// Servers that break no rule, and others that the tests need.
var otherServers = map[string]func(){
	"flushes 4 KB":                      sentOn(flushes4KB),
	"writes each answer by itself":      sentOn(eachAnswer),
	"reads and writes at the same time": talk(readsAndWrites),
	"is slow":                           received(slowly),
	"does not start":                    func() { fmt.Println("No such module"); os.Exit(1) },
	"is a test that is killed":          isTest,
}

// faultVariable says which of these servers a test binary is.
const faultVariable = "ZENTEST_FAULT"

func testServer() {
	name := os.Getenv(faultVariable)
	for _, fault := range faults {
		if fault.name == name {
			fault.main()
			return
		}
	}
	if main := otherServers[name]; main != nil {
		main()
		return
	}
	serve()
}

// serve is a server without a fault: a goroutine for each client.
func serve() { talk(converse)() }

// listen reads the command line, and listens.
func listen() zen.Listener {
	return zen.Listen(zen.ParseCommandLine("A server for tests."))
}

// talk is a server that calls conversation for each client, in a goroutine.
func talk(conversation func(conn *net.TCPConn)) func() {
	return func() { accept(listen(), conversation, nil) }
}

// accept accepts clients. Failed, if not nil, is called in place of a try again.
func accept(listener zen.Listener, conversation func(conn *net.TCPConn), failed func(err error)) {
	for {
		var conn net.Conn
		var err error
		if failed == nil {
			conn, err = listener.Accept()
		} else if conn, err = listener.TCPListener.Accept(); err != nil {
			failed(err)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		go conversation(conn.(*net.TCPConn))
	}
}

func withoutRetry(failed func(err error)) func() {
	return func() { accept(listen(), converse, failed) }
}

func converse(conn *net.TCPConn) { zen.HandleConversation(conn) }

// A wrapped connection changes what is received or sent. It lingers, as
// zen.HandleConversation does with a plain one.
type wrapped struct {
	*net.TCPConn
	received func(data []byte) []byte
	sent     func(answers []byte) error
}

func (w *wrapped) Read(data []byte) (int, error) {
	n, err := w.TCPConn.Read(data)
	return copy(data, w.received(data[:n])), err
}

func (w *wrapped) Write(answers []byte) (int, error) { return len(answers), w.sent(answers) }

func (w *wrapped) Close() error {
	linger(w.TCPConn)
	return nil
}

func linger(conn *net.TCPConn) {
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, conn)
	conn.Close()
}

// received is a server that reads what change returns.
func received(change func(data []byte) []byte) func() {
	return talk(func(conn *net.TCPConn) {
		write := func(answers []byte) error { _, err := conn.Write(answers); return err }
		zen.HandleConversation(&wrapped{conn, change, write})
	})
}

// sentOn is a server with a function for each client that sends answers.
func sentOn(newWrite func(conn *net.TCPConn) (write func(answers []byte) error)) func() {
	return talk(func(conn *net.TCPConn) {
		same := func(data []byte) []byte { return data }
		zen.HandleConversation(&wrapped{conn, same, newWrite(conn)})
	})
}

// sent is a server that calls write to send answers.
func sent(write func(conn *net.TCPConn, answers []byte) error) func() {
	return sentOn(func(conn *net.TCPConn) func([]byte) error {
		return func(answers []byte) error { return write(conn, answers) }
	})
}

// Servers that keep every rule.

func flushes4KB(conn *net.TCPConn) func([]byte) error {
	writer := bufio.NewWriter(conn)
	return func(answers []byte) error {
		writer.Write(answers)
		return writer.Flush()
	}
}

func eachAnswer(conn *net.TCPConn) func([]byte) error {
	return func(answers []byte) error {
		for _, answer := range bytes.SplitAfter(answers, []byte(".")) {
			if _, err := conn.Write(answer); err != nil {
				return err
			}
		}
		return nil
	}
}

// readsAndWrites has a goroutine that reads and one that writes. Between them is a
// queue of a few answers.
func readsAndWrites(conn *net.TCPConn) {
	queue := make(chan []byte, 4)
	written := make(chan bool)
	go func() {
		defer close(written)
		for answers := range queue {
			conn.Write(answers) // an error ends the reader too
		}
	}()
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		answers, tooLong := conversation.AppendAnswers(nil, data[:n])
		queue <- answers
		if err != nil || tooLong != nil {
			break
		}
	}
	close(queue)
	<-written
	linger(conn)
}

func slowly(data []byte) []byte {
	time.Sleep(time.Millisecond)
	return data
}

// Faults in what is received.

func withoutNewlines(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), nil) }

func logged(data []byte) []byte {
	if len(data) > 0 {
		log.Printf("%s", data)
	}
	return data
}

// Faults in what is sent.

// later sends when the connection may be closed.
func later(conn *net.TCPConn, answers []byte) error {
	go func() {
		time.Sleep(time.Millisecond)
		conn.Write(answers)
	}()
	return nil
}

// losesAnswers takes a short write for a whole one.
func losesAnswers(conn *net.TCPConn) func([]byte) error {
	written := 0
	return func(answers []byte) error {
		if written += len(answers); written > 100_000 {
			written = 0
			return nil
		}
		_, err := conn.Write(answers)
		return err
	}
}

var (
	mutex sync.Mutex
	kept  []any
)

func keep(what any) {
	mutex.Lock()
	defer mutex.Unlock()
	kept = append(kept, what)
}

func keeps(conn *net.TCPConn, answers []byte) error {
	keep(bytes.Clone(answers))
	_, err := conn.Write(answers)
	return err
}

// Faults in a conversation.

func readIsQuestion(conn *net.TCPConn) {
	data := make([]byte, 1<<16)
	for {
		n, err := conn.Read(data)
		if err != nil {
			conn.Close()
			return
		}
		io.WriteString(conn, zen.Answer(data[:n]))
	}
}

// withoutLimit keeps all that a client sends, and sends answers in its own time.
func withoutLimit(conn *net.TCPConn) {
	var unsent []byte
	var lock sync.Mutex
	more := make(chan bool, 1)
	go func() {
		for range more {
			lock.Lock()
			answers := unsent
			unsent = nil
			lock.Unlock()
			conn.Write(answers)
		}
		conn.Close()
	}()
	defer close(more)
	var question []byte
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		lock.Lock()
		for _, b := range data[:n] {
			if question = append(question, b); b == '?' {
				unsent = append(unsent, zen.Answer(question)...)
				question = question[:0]
			}
		}
		lock.Unlock()
		if err != nil {
			return
		}
		select {
		case more <- true:
		default: // the other goroutine has not begun with what was there before
		}
	}
}

// eachRead reads and answers until step returns false, or at the end or an error.
// Then it calls end.
func eachRead(conn *net.TCPConn, step func(n int) bool, end func(err error)) {
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		answers, tooLong := conversation.AppendAnswers(nil, data[:n])
		conn.Write(answers)
		switch {
		case tooLong != nil:
			conversation.End(tooLong)
			end(tooLong)
			return
		case err != nil:
			end(err)
			return
		case !step(n):
			linger(conn)
			return
		}
	}
}

func goOn(int) bool { return true }

func smallerLimit(conn *net.TCPConn) {
	eachRead(conn, func(n int) bool { return n < 4096 }, func(error) { linger(conn) })
}

func neverCloses(conn *net.TCPConn) {
	eachRead(conn, goOn, func(error) { select {} })
}

func closesAtOnce(conn *net.TCPConn) {
	eachRead(conn, goOn, func(error) { conn.Close() })
}

func closesAfterwards(conn *net.TCPConn) {
	eachRead(conn, goOn, func(error) {
		conn.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		io.Copy(io.Discard, conn)
		conn.Close()
	})
}

func diesOnReset(conn *net.TCPConn) {
	eachRead(conn, goOn, func(err error) {
		if _, reset := err.(*net.OpError); reset {
			log.Fatal(err)
		}
		linger(conn)
	})
}

func logsBye(conn *net.TCPConn) {
	eachRead(conn, goOn, func(error) { log.Print("Bye"); conn.Close() })
}

func leaksDescriptor(conn *net.TCPConn) {
	file, _ := conn.File()
	keep(file)
	converse(conn)
}

// starvesOthers answers the others only when a client has not asked for half a
// second.
func starvesOthers(conn *net.TCPConn) {
	defer conn.Close()
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		mutex.Lock()
		for err == nil {
			answers, _ := conversation.AppendAnswers(nil, data[:n])
			conn.Write(answers)
			conn.SetReadDeadline(time.Now().Add(time.Second / 2))
			n, err = conn.Read(data)
		}
		mutex.Unlock()
		conn.SetReadDeadline(time.Time{})
		if !os.IsTimeout(err) {
			return
		}
	}
}

// answered answers each read with what answer returns, for one client at a time.
func answered(answer func(data []byte) []byte) func(conn *net.TCPConn) {
	return func(conn *net.TCPConn) {
		defer conn.Close()
		data := make([]byte, 4096)
		for {
			n, err := conn.Read(data)
			if err != nil {
				return
			}
			mutex.Lock()
			answers := answer(data[:n])
			mutex.Unlock()
			conn.Write(answers)
		}
	}
}

var mixed = &zen.Conversation{}

func mixesClients(data []byte) []byte {
	answers, _ := mixed.AppendAnswers(nil, data)
	return answers
}

func thinksForOne(data []byte) []byte { return []byte(zen.Answer(data)) }

// Faults when accept fails.

func deaf(error) {
	log.Print("Accept error: too many open files; retrying in 1s")
	select {}
}

func retriesAtOnce(error) { log.Print("Accept error: too many open files; retrying in 1s") }

func retriesForEver(err error) {
	log.Printf("Accept error: %v; retrying in 1s", err)
	time.Sleep(time.Second)
}

// Faults of the process.

func servesOne() {
	log.Fatal(zen.AcceptConnectionsForever(listen()))
}

func spins() {
	runtime.GOMAXPROCS(8) // so that a busy machine gives it much time
	for range 8 {
		go func() {
			for {
			}
		}()
	}
	serve()
}

func endsBySignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, harmless...)
	go func() { <-signals; os.Exit(0) }()
	serve()
}

func ignoresSIGTERM() {
	signal.Ignore(syscall.SIGTERM)
	serve()
}

// keepsPort fails if somebody has used the port, as without SO_REUSEADDR.
func keepsPort() {
	used := os.TempDir() + "/zentest" + strings.Join(os.Args[1:], "")
	if _, err := os.Stat(used); err == nil {
		os.Remove(used)
		log.Fatal("address already in use")
	}
	os.WriteFile(used, nil, 0o600)
	serve()
}

func listensAtOne() {
	os.Args[len(os.Args)-1] = "127.0.0.1"
	serve()
}

type endsAtError struct{ io.Writer }

func (w endsAtError) Write(line []byte) (int, error) {
	n, err := w.Writer.Write(line)
	if err != nil {
		os.Exit(1)
	}
	return n, err
}

func endsWithoutLog() {
	log.SetOutput(endsAtError{os.Stderr})
	serve()
}

func exitsWithOne() {
	if len(os.Args) != 4 {
		os.Exit(1)
	}
	serve()
}

type withoutThink struct{ io.Writer }

func (w withoutThink) Write(line []byte) (int, error) {
	return w.Writer.Write(bytes.ReplaceAll(line, []byte("-think "), []byte("-t ")))
}

func hidesFlag() {
	flag.CommandLine.SetOutput(withoutThink{os.Stderr})
	serve()
}

func logsToClient() {
	fmt.Print("Hello")
	zen.RedirectOutput()
	zen.HandleConversation(zen.StdinConn())
}

func followsLinks() {
	if path, err := os.Readlink(zen.LogFile); err == nil {
		os.WriteFile(path, []byte("overwritten"), 0o644)
	}
	zen.RedirectOutput()
	zen.HandleConversation(zen.StdinConn())
}

// isTest is a test that has started a server, and waits.
func isTest() {
	t := &trial{TB: &testing.T{}}
	os.Unsetenv(faultVariable)
	s, err := launch(tempDir{t}, Server{}, options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "its server listens at %s\nListening at %s\n", s.address, s.address)
	select {}
}

type tempDir struct{ *trial }

func (tempDir) TempDir() string { return os.TempDir() }
