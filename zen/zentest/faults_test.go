package zentest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
)

// A fault is a program that breaks a rule.
type fault struct {
	rule    string
	name    string // a server that …
	says    string // matches a part of the failure; "" if the program is right
	program program
}

var faults = []fault{
	{"AtOnce", "serves any number", `one more connected.*\n.*expected nothing yet and got "Complex\."`, program{Server: Server{AtOnce: 4}}},
	{"AtOnce", "serves one client", `Client number 2 of 4 .*\n.*then nothing happened(.*\n)*.*The other rules were not tried`,
		program{Server: Server{AtOnce: 4}, accepted: atMost(1)}},
	{"AtOnce", "serves 128 clients", `Client number 129 of `, program{accepted: atMost(128)}},
	{"AtOnce", "does not start", `Listening at .*, and the server has ended(.*\n)*.*No such module`, program{begin: func() { log.Fatal("No such module") }}},
	{"Answers", "loses answers at a half-close", `closed its side\.\n.*expected "Complex\." and got ""`, program{
		send: func(conn *net.TCPConn, answers []byte) (int, error) {
			answers = bytes.Clone(answers)
			time.AfterFunc(100*time.Millisecond, func() { conn.Write(answers) }) // after the end
			return len(answers), nil
		}}},
	{"Answers", "never closes its side", `then nothing happened .*-patience`, program{hangUp: after("EOF", keep)}},
	{"Answers", "trims spaces", `sent " Simple.*\n.*and got "Complex\."`, program{received: bytes.TrimSpace}},
	{"Answers", "drops newlines", `sent "\\nSimple.*\n.*and got "Complex\."`, program{received: replace("\n", "")}},
	{"Answers", "drops a byte order mark", `ufeffSimple.*\n.*and got "Complex\."`, program{received: replace("\ufeff", "")}},
	{"Answers", "takes ？ for ?", `sent "Simple is better than？.*\n.*and got "Complex\.Error`, program{received: replace("？", "?")}},
	{"Framing", "takes a read for a question", `Explicit is better"\.\n.*and got "Error`, program{
		accepted: func(conn *net.TCPConn) {
			data := make([]byte, zen.MaxQuestion)
			for n, err := conn.Read(data); err == nil; n, err = conn.Read(data) {
				io.WriteString(conn, zen.Answer(data[:n]))
			}
			conn.Close()
		}}},
	{"Framing", "is slow", "", program{received: func(data []byte) []byte { time.Sleep(time.Millisecond); return data }}},
	{"LongestQuestion", "has no limit", `4097 bytes\).*\n.*expected the end and got "Error`, program{received: replace("x", "")}},
	{"LongestQuestion", "has a smaller limit", `4096 bytes.*\n.*and got "", then the end`, program{received: replace(tooLong[2:], tooLong)}}, // 4095 x become too many
	{"LongestQuestion", "counts letters", `美"… \(4097 bytes\).*\n.*expected the end and got "Error`, program{received: replace("美", "x")}},
	{"OwnAnswers", "mixes the clients", `One of up to 16 clients`, program{
		send: func(conn *net.TCPConn, answers []byte) (int, error) {
			if before := other.Swap(conn); before != nil {
				conn = before
			}
			return conn.Write(answers)
		}}},

	{"HangUp", "closes at once", `then read its answers\.\n.*It got the first \d+ of 48000 bytes`, program{hangUp: linger(0)}},
	{"HangUp", "closes too early", `has not waited until the client closed|then read its answers`, program{hangUp: linger(50 * time.Millisecond)}},
	{"HangUp", "does not shut down its side", `expected the end when it had read`, program{
		hangUp: func(conn *net.TCPConn, _ error) {
			conn.SetReadDeadline(time.Now().Add(time.Second))
			io.Copy(io.Discard, conn)
			conn.Close()
		}}},
	{"HangUp", "never closes", `has hung up, and still takes`, program{hangUp: linger(time.Hour)}},
	{"Leaving", "dies on a reset", `after one that sent a reset|cannot connect`, program{hangUp: after("reset", func(*net.TCPConn) { os.Exit(1) })}},
	{"NeverReads", "queues 48 MB", `should stop reading, and keeps \d+ MiB`, program{accepted: queue(14_000)}},
	{"NeverReads", "reads and writes at the same time", "", program{accepted: queue(4)}},
	{"NeverReads", "loses the rest of a write", `are right|bytes of answers`, program{
		send: func(conn *net.TCPConn, answers []byte) (n int, err error) {
			for n == 0 && (err == nil || os.IsTimeout(err)) {
				conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				n, err = conn.Write(answers)
			}
			return n, nil
		}}},
	{"NeverReads", "writes each answer by itself", "", program{
		send: func(conn *net.TCPConn, answers []byte) (n int, err error) {
			for answer := range bytes.SplitAfterSeq(answers, []byte(".")) {
				_, err = conn.Write(answer)
			}
			return len(answers), err
		}}},
	{"Flood", "starves the others", `Beside one that floods .*\n.*then nothing happened`, program{
		send: func(conn *net.TCPConn, answers []byte) (int, error) {
			if len(answers) > 1000 {
				other.CompareAndSwap(nil, conn)
			}
			for flooder := other.Load(); flooder != nil && flooder != conn; flooder = other.Load() {
				time.Sleep(time.Millisecond)
			}
			return conn.Write(answers)
		},
		hangUp: func(conn *net.TCPConn, _ error) { other.CompareAndSwap(conn, nil); conn.Close() }}},

	{"Silence", "waits for five seconds", `was silent for 6s`, program{
		accepted: func(conn *net.TCPConn) {
			time.AfterFunc(5*time.Second, func() { conn.Close() })
			program{}.converse(conn)
		}}},
	{"Silence", "spins while it cannot write", `does not read.*: it spins`, program{
		send: func(conn *net.TCPConn, answers []byte) (n int, err error) {
			var written atomic.Bool
			go func() { n, err = conn.Write(answers); written.Store(true) }()
			for !written.Load() {
			}
			return n, err
		}}},
	{"Leaving", "leaks a descriptor after too long a question", `has \d+ descriptors`, program{hangUp: after("longer", keep)}},
	{"Leaving", "leaks a descriptor when a write fails", `\d+ descriptors`, program{hangUp: after("write", keep)}},
	{"Leaving", "leaks threads", `has \d+ threads`, program{
		hangUp: func(conn *net.TCPConn, _ error) { conn.Close(); runtime.LockOSThread(); select {} }}},
	{"Leaving", "leaks processes", `has \d+ process`, program{
		hangUp: func(conn *net.TCPConn, _ error) {
			conn.Close()
			command := exec.Command("true")
			command.Start()
			command.Process.Release() // it remains as a zombie
		}}},
	{"Memory", "keeps memory after a burst", `as many new ones, .* bytes of memory`, program{
		send: func(conn *net.TCPConn, answers []byte) (int, error) {
			kept <- bytes.Clone(answers)
			return conn.Write(answers)
		}}},
	{"Memory", "touches memory for each client", `as many new ones, .* bytes of memory`, program{
		accepted: func(conn *net.TCPConn) { kept <- bytes.Repeat([]byte("x"), 1<<20); program{}.converse(conn) }}},
	{"Descriptors", "dies later without descriptors", `has ended: exit status 1`, program{
		failed: func() { time.AfterFunc(5*time.Second, func() { os.Exit(1) }); time.Sleep(time.Second) }}},
	{"Descriptors", "is deaf after a shortage", `nothing happened`, program{failed: func() { select {} }}},
	{"Descriptors", "spins in a shortage", `it spins`, program{failed: func() { log.SetOutput(io.Discard) }}},
	{"Descriptors", "drops a client in a shortage", `One of 90 clients .*\n.*(the end|reset)`, program{
		accepted: func(conn *net.TCPConn) { other.Store(conn); program{}.converse(conn) },
		failed:   func() { time.Sleep(time.Second); other.Load().Close() }}},

	{"Stop", "ends by a signal", `has ended: exit status 0`, program{
		begin: func() {
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, harmless...)
			go func() { <-signals; os.Exit(0) }()
		}}},
	{"Stop", "ignores SIGTERM", `should end by the signal terminated, then nothing happened`, program{begin: func() { signal.Ignore(syscall.SIGTERM) }}},
	{"Stop", "keeps its port for a minute", `Listening at .*, and the server has ended`, program{
		begin: func() { // as without SO_REUSEADDR: the folder says that the port was used
			path, _ := os.Readlink("/proc/self/fd/2") // the log
			if os.Mkdir(filepath.Dir(path)+"/../"+os.Args[2], 0o700) != nil {
				log.Fatal("address already in use")
			}
		}}},
	{"Log", "logs another line", `leave 2 lines`, program{hangUp: func(conn *net.TCPConn, _ error) { log.Print("Bye"); conn.Close() }}},
	{"LogReaderLeaves", "ends when the reader of its log leaves", `has ended: exit status 1`, program{
		received: func(data []byte) []byte {
			if log.Output(0, "It sent something") != nil {
				os.Exit(1)
			}
			return data
		}}},
	{"PermanentError", "retries for ever", `should end with status 1, then nothing`, program{}}, // as a server that is not ours may
	{"StandardInput", "does not say what is wrong", `With a .* should end with .* and ended with`, program{
		Server: Server{Inetd: "nowait"}, begin: func() { os.Exit(1) }}},
	{"Idle", "is impatient", `should wait for 8s, and has waited for`, program{Server: Server{AtOnce: 1, Inetd: "wait"},
		begin: func() {
			zen.RedirectOutput()
			listener := zen.StdinListener()
			listener.Timeout = time.Second
			zen.AcceptConnectionsForever(listener)
			log.Print("Waited 8 seconds with no further connections; shutting down")
			os.Exit(0)
		}}},
	{"NothingButAnswers", "logs to its client", `got "Hello`, program{Server: Server{Inetd: "nowait"}, begin: func() { fmt.Print("Hello") }}},
	{"NothingButAnswers", "follows links", `writes "overwritten" to another file`, program{Server: Server{Inetd: "nowait"},
		begin: func() {
			if path, err := os.Readlink(os.Getenv("ZEN_LOG")); err == nil {
				os.WriteFile(path, []byte("overwritten"), 0o644)
			}
		}}},
}

var (
	kept  = make(chan any, 1<<16)     // nobody receives them
	other atomic.Pointer[net.TCPConn] // another client's
)

// A program is a right server, apart from the steps that it has of its own.
type program struct {
	Server   // what the suite is told of it
	begin    func()
	failed   func()                   // when accept has failed, before it is tried again
	accepted func(conn *net.TCPConn)  // in place of converse
	received func(data []byte) []byte // returns what it takes for the data
	send     func(conn *net.TCPConn, answers []byte) (int, error)
	hangUp   func(conn *net.TCPConn, err error)
}

// chosen returns the program that the environment names, or one without a fault.
func chosen() (p program) {
	for _, fault := range faults {
		if fault.name == os.Getenv(faultVariable) {
			p = fault.program
		}
	}
	return p
}

// run is the program's main.
func (p program) run() {
	if p.begin != nil {
		p.begin()
	}
	if p.Inetd != "" {
		zen.RedirectOutput()
		zen.HandleConversation(zen.StdinConn())
		return
	}
	listener := zen.Listen(zen.ParseCommandLine("A server for tests."))
	if p.failed == nil {
		p.failed = func() { time.Sleep(time.Second) }
	}
	if p.accepted == nil {
		p.accepted = p.converse
	}
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			log.Printf("Accept error: %v; retrying in 1s", err)
			p.failed()
			continue
		}
		go p.accepted(conn)
	}
}

// converse does what [zen.HandleConversation] does.
func (p program) converse(conn *net.TCPConn) {
	if p.received == nil {
		p.received = func(data []byte) []byte { return data }
	}
	if p.send == nil {
		p.send = (*net.TCPConn).Write
	}
	if p.hangUp == nil {
		p.hangUp = linger(time.Second)
	}
	conversation := zen.NewConversation(conn.RemoteAddr())
	data := make([]byte, zen.MaxQuestion)
	answers := make([]byte, 0, zen.MaxQuestion*len(unknown)) // enough for each read
	var err error
	for err == nil {
		n, readErr := conn.Read(data)
		answers, tooLong := conversation.AppendAnswers(answers[:0], p.received(data[:n]))
		if len(answers) > 0 {
			_, err = p.send(conn, answers)
		}
		err = cmp.Or(err, tooLong, readErr)
	}
	conversation.End(err)
	p.hangUp(conn, err)
}

// linger hangs up as zen.HandleConversation does, and closes after limit.
func linger(limit time.Duration) func(conn *net.TCPConn, err error) {
	return func(conn *net.TCPConn, _ error) {
		conn.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(limit))
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

// after closes a connection. If the error has the text what, it calls do instead.
func after(what string, do func(conn *net.TCPConn)) func(conn *net.TCPConn, err error) {
	return func(conn *net.TCPConn, err error) {
		if strings.Contains(err.Error(), what) {
			do(conn)
		} else {
			conn.Close()
		}
	}
}

func keep(conn *net.TCPConn) { kept <- conn }

func replace(old, new string) func(data []byte) []byte {
	return func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(old), []byte(new)) }
}

// atMost converses with clients at the same time, and no more.
func atMost(clients int) func(conn *net.TCPConn) {
	served := make(chan bool, clients)
	return func(conn *net.TCPConn) {
		served <- true
		program{}.converse(conn)
		<-served
	}
}

// queue sends from a second goroutine. Between the two is a queue for the answers to
// so many reads.
func queue(reads int) func(conn *net.TCPConn) {
	return func(conn *net.TCPConn) {
		answers := make(chan []byte, reads)
		go func() {
			for each := range answers {
				conn.Write(each)
			}
			linger(time.Second)(conn, nil)
		}()
		program{
			send:   func(_ *net.TCPConn, data []byte) (int, error) { answers <- bytes.Clone(data); return len(data), nil },
			hangUp: func(*net.TCPConn, error) { close(answers) },
		}.converse(conn)
	}
}
