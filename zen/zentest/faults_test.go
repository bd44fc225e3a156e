package zentest

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"fopnp/chapter07/zen"
)

// A fault is a server that breaks a rule.
type fault struct {
	rule   string
	name   string // a server that …
	says   string // matches a part of the failure; "" if the server is right
	main   func()
	server Server
}

var faults = []fault{
	{"AtOnce", "serves any number", `one more connected.*\n.*expected nothing yet and got "Complex\."`, serve, Server{AtOnce: 4}},
	{"AtOnce", "serves one client", `Client number 2 of 4 .*\n.*then nothing happened(.*\n)*.*The other rules were not tried`, servesOne, Server{AtOnce: 4}},
	{"AtOnce", "serves 128 clients", `Client number 129 of 300 `, pool(128), Server{}},
	{"AtOnce", "does not start", `does not start(.*\n)*.*No such module`, func() { fmt.Println("No such module"); os.Exit(1) }, Server{}},
	{"Answers", "trims spaces", `sent " Simple.*\n.*and got "Complex\."`, received(bytes.TrimSpace), Server{}},
	{"Answers", "drops newlines", `sent "\\nSimple.*\n.*and got "Complex\."`, received(without("\n")), Server{}},
	{"Answers", "drops a byte order mark", `ufeffSimple.*\n.*and got "Complex\."`, received(without("\ufeff")), Server{}},
	{"Answers", "takes ？ for ?", `sent "Simple is better than？.*\n.*and got "Complex\.Error`, received(halfWidth), Server{}},
	{"Framing", "takes a read for a question", `Explicit is better"\.\n.*and got "Error`, talk(readIsQuestion), Server{}},
	{"LongestQuestion", "has no limit", `4097 bytes .*\n.*expected the end and got "Error`, talk(withoutLimit), Server{}},
	{"LongestQuestion", "has a smaller limit", `4096 bytes.*\n.*and got "", then the end`, talk(smallerLimit), Server{}},
	{"LongestQuestion", "counts letters", `4097 bytes \("美".*\n.*expected the end and got "Error`, received(letters), Server{}},
	{"HalfClose", "loses answers at a half-close", `closed its side\.\n.*expected "Complex\." and got ""`, sent(later), Server{}},
	{"HalfClose", "never closes its side", `then nothing happened .*-patience`, ends(func(net.Conn, error) { select {} }), Server{}},
	{"OwnAnswers", "mixes the clients", `One of up to 16 clients`, talk(mixesClients), Server{}},
	{"Silence", "waits for five seconds", `was silent for 6s`, talk(isImpatient), Server{}},
	{"HangUp", "closes at once", `then read its answers\.\n.*It got the first \d+ of 48000 bytes`, ends(closes), Server{}},
	{"HangUp", "closes too early", `has not waited until the client closed|then read its answers`, ends(lingers(50 * time.Millisecond)), Server{}},
	{"HangUp", "never closes", `has hung up, and still takes`, ends(lingers(time.Hour)), Server{}},
	{"Reset", "dies on a reset", `After a client that sent a reset|cannot connect`, ends(dies), Server{}},
	{"NeverReads", "queues all answers", `should stop reading, and keeps \d+ MiB`, queueing(1 << 20), Server{}},
	{"NeverReads", "queues 48 MB", `should stop reading, and keeps \d+ MiB`, queueing(14_000), Server{}},
	{"NeverReads", "loses the rest of a write", `bytes of (right )?answers`, sent(losesRest), Server{}},
	{"Flood", "starves the others", `Beside one that floods .*\n.*then nothing happened`, talk(starvesOthers), Server{}},
	{"NoSpin", "spins", `nothing to do .*: it spins`, spins, Server{}},
	{"NoSpin", "spins while it cannot write", `one that does not read\), .* it spins`, sent(spinsMeanwhile), Server{}},
	{"NoLeak", "leaks descriptors", `has \d+ descriptors|run out`, ends(leaksDescriptor), Server{}},
	{"NoLeak", "leaks descriptors when a write fails", `has \d+ descriptors|run out`, sent(leaksAtError), Server{}},
	{"NoLeak", "leaks threads", `has \d+ threads`, ends(leaksThread), Server{}},
	{"NoLeak", "leaks processes", `has \d+ process`, ends(leaksProcess), Server{}},
	{"Memory", "keeps memory after a burst", `The same 50 clients .* grew`, sent(keeps), Server{}},
	{"Memory", "touches memory for each client", `Each time another 50 clients .* grew`, talk(touches), Server{}},
	{"Descriptors", "dies without descriptors", `has ended: exit status 1`, atError(func(err error) { log.Fatal(err) }), Server{}},
	{"Descriptors", "dies later without descriptors", `has ended: exit status 1`, atError(diesLater), Server{}},
	{"Descriptors", "is deaf after a shortage", `nothing happened`, atError(isDeaf), Server{}},
	{"Descriptors", "spins in a shortage", `it spins`, atError(retriesAtOnce), Server{}},
	{"Descriptors", "drops a client in a shortage", `One of 90 clients .*\n.*(the end|reset)`, atError(dropsFirst), Server{}},
	{"Signals", "ends by a signal", `has ended: exit status 0`, endsBySignal, Server{}},
	{"Stop", "ignores SIGTERM", `should end by the signal terminated, then nothing happened`, ignoresSIGTERM, Server{}},
	{"Stop", "keeps its port for a minute", `does not start`, keepsPort, Server{}},
	{"Log", "logs another line", `should have 1 line that match .*has closed|leave 2 lines`, ends(func(conn net.Conn, _ error) { log.Print("Bye"); conn.Close() }), Server{}},
	{"Log", "logs what a client sends", `should leave 2 lines|it has 0`, received(logged), Server{}},
	{"LogReaderLeaves", "ends when the reader of its log leaves", `has ended: exit status 1`, endsWithoutLog, Server{}},
	{"PermanentError", "retries for ever", `should end with status 1, then nothing`, atError(retriesForEver), Server{}},
	{"NothingButAnswers", "logs to its client", `got "Hello`, func() { fmt.Print("Hello"); inZen1() }, Server{Inetd: "nowait"}},
	{"NothingButAnswers", "follows links", `writes "overwritten" to another file`, followsLinks, Server{Inetd: "nowait"}},

	{"NeverReads", "writes each answer by itself", "", sent(eachAnswer), Server{}},
	{"NeverReads", "reads and writes at the same time", "", queueing(4), Server{}},
	{"Framing", "is slow", "", received(slowly), Server{}},
}

// testServer is the server that the environment names, or one without a fault.
func testServer() {
	for _, fault := range faults {
		if fault.name == os.Getenv(faultVariable) {
			fault.main()
			return
		}
	}
	serve()
}

func listen() zen.Listener {
	return zen.Listen(zen.ParseCommandLine("A server for tests."))
}

// talk is a server that calls conversation for each client, in a goroutine.
func talk(conversation func(conn net.Conn)) func() {
	return func() {
		for listener := listen(); ; {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go conversation(conn)
		}
	}
}

func converse(conn net.Conn) { zen.HandleConversation(conn) }

func serve() { talk(converse)() }

func inZen1() {
	zen.RedirectOutput()
	zen.HandleConversation(zen.StdinConn())
}

func servesOne() { log.Fatal(zen.AcceptConnectionsForever(listen())) }

// pool is a server of so many clients at once.
func pool(workers int) func() {
	return func() {
		listener := listen()
		for range workers {
			go zen.AcceptConnectionsForever(listener)
		}
		select {}
	}
}

// A wrapped connection changes what is received, or how answers are sent. It lingers,
// as zen.HandleConversation does with a plain one.
type wrapped struct {
	net.Conn
	received func(data []byte) []byte
	sent     func(conn net.Conn, answers []byte) error
}

func (w wrapped) Read(data []byte) (int, error) {
	n, err := w.Conn.Read(data)
	if w.received != nil {
		n = copy(data, w.received(data[:n]))
	}
	return n, err
}

func (w wrapped) Write(answers []byte) (int, error) {
	if w.sent != nil {
		return len(answers), w.sent(w.Conn, answers)
	}
	return w.Conn.Write(answers)
}

func (w wrapped) Close() error { lingers(time.Second)(w.Conn, nil); return nil }

// received is a server that reads what change returns.
func received(change func(data []byte) []byte) func() {
	return talk(func(conn net.Conn) { zen.HandleConversation(wrapped{conn, change, nil}) })
}

// sent is a server that calls send for its answers.
func sent(send func(conn net.Conn, answers []byte) error) func() {
	return talk(func(conn net.Conn) { zen.HandleConversation(wrapped{conn, nil, send}) })
}

// ends is a server that calls end in place of closing a connection.
func ends(end func(conn net.Conn, err error)) func() {
	return talk(func(conn net.Conn) { eachRead(conn, func(n int) bool { return true }, end) })
}

// eachRead reads and answers until more returns false, or at the end or an error. Then
// it calls end.
func eachRead(conn net.Conn, more func(n int) bool, end func(conn net.Conn, err error)) {
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		answers, tooLong := conversation.AppendAnswers(nil, data[:n])
		_, writeErr := conn.Write(answers)
		if err = errors.Join(err, tooLong, writeErr); err != nil || !more(n) {
			conversation.End(err)
			end(conn, err)
			return
		}
	}
}

func lingers(limit time.Duration) func(conn net.Conn, err error) {
	return func(conn net.Conn, _ error) {
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(limit))
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

func closes(conn net.Conn, _ error) { conn.Close() }

// In what is received.

func without(what string) func(data []byte) []byte {
	return func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(what), nil) }
}

func halfWidth(data []byte) []byte { return bytes.ReplaceAll(data, []byte("？"), []byte("?")) }

// letters puts one byte in the place of each letter.
func letters(data []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return 'x'
		}
		return r
	}, data)
}

func logged(data []byte) []byte {
	if len(data) > 0 {
		log.Printf("%s", data)
	}
	return data
}

func slowly(data []byte) []byte {
	time.Sleep(time.Millisecond)
	return data
}

// In what is sent.

func eachAnswer(conn net.Conn, answers []byte) error {
	for answer := range bytes.SplitAfterSeq(answers, []byte(".")) {
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
	return nil
}

// later sends when the connection may be closed.
func later(conn net.Conn, answers []byte) error {
	go func() {
		time.Sleep(time.Millisecond)
		conn.Write(answers)
	}()
	return nil
}

// losesRest takes a part of a write for all.
func losesRest(conn net.Conn, answers []byte) error {
	for n := 0; n == 0; {
		var err error
		conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err = conn.Write(answers); err != nil && !os.IsTimeout(err) {
			return err
		}
	}
	return nil
}

// spinsMeanwhile spins while it waits until there is room for the answers.
func spinsMeanwhile(conn net.Conn, answers []byte) (err error) {
	var done atomic.Bool
	go func() {
		_, err = conn.Write(answers)
		done.Store(true)
	}()
	for !done.Load() {
	}
	return err
}

var kept struct {
	sync.Mutex
	all []any
}

func keep(what any) {
	kept.Lock()
	defer kept.Unlock()
	kept.all = append(kept.all, what)
}

func keeps(conn net.Conn, answers []byte) error {
	keep(bytes.Clone(answers))
	_, err := conn.Write(answers)
	return err
}

func leaksAtError(conn net.Conn, answers []byte) error {
	_, err := conn.Write(answers)
	if err != nil {
		leaksDescriptor(conn, nil)
	}
	return err
}

// Conversations.

func readIsQuestion(conn net.Conn) {
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

func smallerLimit(conn net.Conn) {
	eachRead(conn, func(n int) bool { return n < 4096 }, lingers(time.Second))
}

func isImpatient(conn net.Conn) {
	time.AfterFunc(5*time.Second, func() { conn.Close() })
	converse(conn)
}

func touches(conn net.Conn) {
	keep(bytes.Repeat([]byte("x"), 1<<20))
	converse(conn)
}

// withoutLimit keeps a question until its '?' comes, however long it is.
func withoutLimit(conn net.Conn) {
	for reader := bufio.NewReader(conn); ; {
		question, err := reader.ReadString('?')
		if err != nil {
			conn.Close()
			return
		}
		io.WriteString(conn, zen.Answer([]byte(question)))
	}
}

// queueing is a server with a second goroutine for each client, which sends. Between
// the two is a queue for the answers to so many reads.
func queueing(reads int) func() {
	return talk(func(conn net.Conn) {
		queue := make(chan []byte, reads)
		go func() {
			for answers := range queue {
				conn.Write(answers)
			}
			lingers(time.Second)(conn, nil)
		}()
		conversation := zen.NewConversation(conn.RemoteAddr())
		data := make([]byte, 4096)
		var err error
		for err == nil {
			n, readErr := conn.Read(data)
			answers, tooLong := conversation.AppendAnswers(nil, data[:n])
			queue <- answers
			err = cmp.Or(tooLong, readErr)
		}
		close(queue)
		conversation.End(err)
	})
}

// starvesOthers answers the others only when a client has not asked for half a
// second.
func starvesOthers(conn net.Conn) {
	defer conn.Close()
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		kept.Lock()
		for err == nil {
			answers, _ := conversation.AppendAnswers(nil, data[:n])
			conn.Write(answers)
			conn.SetReadDeadline(time.Now().Add(time.Second / 2))
			n, err = conn.Read(data)
		}
		kept.Unlock()
		conn.SetReadDeadline(time.Time{})
		if !os.IsTimeout(err) {
			return
		}
	}
}

var mixed = &zen.Conversation{}

func mixesClients(conn net.Conn) {
	defer conn.Close()
	for data := make([]byte, 4096); ; {
		n, err := conn.Read(data)
		if err != nil {
			return
		}
		kept.Lock()
		answers, _ := mixed.AppendAnswers(nil, data[:n])
		kept.Unlock()
		conn.Write(answers)
	}
}

// At the end of a conversation.

func dies(conn net.Conn, err error) {
	if operation := new(net.OpError); errors.As(err, &operation) {
		log.Fatal(err)
	}
	lingers(time.Second)(conn, err)
}

func leaksDescriptor(conn net.Conn, _ error) {
	file, _ := conn.(*net.TCPConn).File()
	keep(file)
	conn.Close()
}

func leaksThread(conn net.Conn, _ error) {
	conn.Close()
	runtime.LockOSThread()
	select {}
}

func leaksProcess(conn net.Conn, _ error) {
	conn.Close()
	exec.Command("true").Start()
}

// When accept fails.

// atError is a server that calls failed, and then accepts again.
func atError(failed func(err error)) func() {
	return func() {
		for listener := listen(); ; {
			conn, err := listener.TCPListener.Accept()
			if err != nil {
				failed(err)
				continue
			}
			firstAccepted.CompareAndSwap(nil, &conn)
			go converse(conn)
		}
	}
}

var firstAccepted atomic.Pointer[net.Conn]

func retriesForEver(err error) {
	log.Printf("Accept error: %v; retrying in 1s", err)
	time.Sleep(time.Second)
}

func retriesAtOnce(error) { log.Print("Accept error: too many open files; retrying in 1s") }

func isDeaf(err error) {
	retriesForEver(err)
	select {}
}

func diesLater(err error) {
	log.Printf("Accept error: %v; retrying in 1s", err)
	time.Sleep(5 * time.Second)
	log.Fatal(err)
}

func dropsFirst(err error) {
	retriesForEver(err)
	(*firstAccepted.Load()).Close()
}

// Of the process.

func spins() {
	go func() {
		for {
		}
	}()
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

// keepsPort fails if the port is not free to choose, as without SO_REUSEADDR.
func keepsPort() {
	if !strings.Contains(strings.Join(os.Args, " "), "-p 0") {
		log.Fatal("address already in use")
	}
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

func followsLinks() {
	if path, err := os.Readlink(os.Getenv("ZEN_LOG")); err == nil {
		os.WriteFile(path, []byte("overwritten"), 0o644)
	}
	inZen1()
}
