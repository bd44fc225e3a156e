package zentest

import (
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
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var (
	anyServer = flag.String("server", "", "the `command` of a server, with {host} and {port}, to hold to the rules")
	anyAtOnce = flag.Int("at-once", 0, "how many clients that server serves at once; 0 is any number")
)

func TestMain(m *testing.M) {
	patience = 10 * time.Second // many rules find a fault by waiting in vain
	Main(m, faultyServer)
}

// TestAny holds the server of the flag -server to the rules. Without the flag it
// holds a server without a fault to them.
func TestAny(t *testing.T) {
	server := Server{AtOnce: *anyAtOnce, Command: strings.Fields(*anyServer)}
	if len(server.Command) == 0 {
		path, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		server.Command = []string{path, "-p", "{port}", "{host}"}
		server.environment = []string{runVariable + "=1"}
	}
	Test(t, server)
}

// For every rule there is a server with a fault that breaks it.
func TestEveryRuleBites(t *testing.T) {
	bitten := map[string]bool{"WhoWaits": true} // see TestWhoWaits
	for _, test := range []struct {
		rule, fault string
		server      Server
	}{
		{"Answers", "trims spaces", Server{}},
		{"Answers", "drops bytes", Server{}},
		{"Framing", "frames by segment", Server{}},
		{"LongestQuestion", "has no limit", Server{}},
		{"LongestQuestion", "has a smaller limit", Server{}},
		{"EndlessQuestion", "has no limit", Server{}},
		{"HalfClose", "loses answers at a half-close", Server{}},
		{"HalfClose", "never closes its side", Server{}},
		{"HangUp", "closes at once", Server{}},
		{"Reset", "dies on a reset", Server{}},
		{"NeverReads", "keeps what a client sends", Server{}},
		{"SlowReader", "loses answers behind a slow reader", Server{}},
		{"AtOnce", "", Server{AtOnce: 4}},
		{"AtOnce", "serves one client", Server{AtOnce: 4}},
		{"AtOnce", "serves one client", Server{}},
		{"Flood", "starves the others", Server{}},
		{"OwnAnswers", "mixes the clients", Server{}},
		{"Descriptors", "dies without descriptors", Server{}},
		{"Descriptors", "is deaf after a shortage", Server{}},
		{"Descriptors", "spins in a shortage", Server{}},
		{"NoLeak", "leaks descriptors", Server{}},
		{"NoSpin", "spins", Server{}},
		{"Memory", "keeps memory after a burst", Server{}},
		{"Signals", "ends by a signal", Server{}},
		{"Stop", "ignores SIGTERM", Server{}},
		{"Log", "logs another line", Server{}},
		{"Log", "logs what a client sends", Server{}},
		{"CommandLine", "exits with another status", Server{}},
		{"Hosts", "listens at one interface", Server{}},
		{"PermanentError", "retries for ever", Server{}},
		{"ThinkingTime", "", Server{Thinking: 2}},
		{"ThinkingTime", "thinks for one client", Server{Thinking: 2}},
		{"NothingButAnswers", "logs to its client", Server{Inetd: "nowait"}},
		{"NothingButAnswers", "follows links", Server{Inetd: "nowait"}},
	} {
		bitten[test.rule] = true
		if test.rule == "Memory" && raceDetector {
			continue
		}
		t.Run(strings.TrimSpace(test.rule+" "+test.fault), func(t *testing.T) {
			t.Parallel()
			test.server.environment = []string{faultVariable + "=" + test.fault}
			broken, why := breaks(t, ruleNamed(t, test.rule), test.server)
			switch {
			case strings.HasPrefix(why, "SKIPPED"):
				t.Skip(why)
			case !broken, strings.Contains(why, "does not start"):
				t.Errorf("a server that %s keeps the rule %s: %s", test.fault, test.rule, why)
			default:
				t.Log(why)
			}
		})
	}
	for _, rule := range rules {
		if !bitten[rule.name] {
			t.Errorf("no fault breaks the rule %s", rule.name)
		}
	}
}

// A server without a fault keeps every rule.
func TestNoFault(t *testing.T) {
	for _, rule := range rules {
		if rule.name == "WhoWaits" || rule.applies != nil && !rule.applies(Server{}) {
			continue
		}
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			rule.check(t, Server{})
		})
	}
}

// The picture of another architecture is not accepted.
func TestWhoWaits(t *testing.T) {
	t.Parallel()
	single := "srv_x\nA  A------A|\nB  ........A------A|\n"
	for _, test := range []struct {
		readme, name string
		found        bool
	}{
		{"```\n" + single + "```\n", "srv_x", true},
		{"```\n" + single + "```\n", "srv", false},
		{"```\n" + strings.Replace(single, "..", ".", 1) + "```\n", "srv_x", false},
		{"```\nsrv_x\n```\n```\n" + strings.Replace(single, "srv_x", "srv_y", 1) + "```\n", "srv_x", false},
		{"```\n" + strings.Replace(single, "srv_x", "srv_y, srv_x", 1) + "```\n", "srv_x", true},
	} {
		_, picture, _ := strings.Cut(single, "\n")
		if found := hasPicture(test.readme, test.name, picture); found != test.found {
			t.Errorf("%s in %q: %v, want %v", test.name, test.readme, found, test.found)
		}
	}
}

func ruleNamed(t *testing.T, name string) rule {
	for _, rule := range rules {
		if rule.name == name {
			return rule
		}
	}
	t.Fatalf("no rule %s", name)
	panic("not reached")
}

// breaks reports whether server breaks rule, and what the rule says.
func breaks(t *testing.T, rule rule, server Server) (broken bool, why string) {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		rule.check(r, server)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, strings.Join(r.messages, "\n")
}

// A recorder is a testing.TB that records how a rule fails.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	messages []string
	cleanups []func()
}

func (r *recorder) record(message string, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message)
	r.failed = r.failed || failed
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Helper()                           {}
func (r *recorder) Log(args ...any)                   {}
func (r *recorder) Logf(format string, args ...any)   {}
func (r *recorder) Error(args ...any)                 { r.record(fmt.Sprint(args...), true) }
func (r *recorder) Errorf(format string, args ...any) { r.record(fmt.Sprintf(format, args...), true) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) Skip(args ...any)                  { r.record(fmt.Sprint(args...), false); runtime.Goexit() }

// faultVariable tells faultyServer which fault it has.
const faultVariable = "ZENTEST_FAULT"

// faultyServer is a server with a goroutine for each client, and with a fault that
// breaks a rule.
func faultyServer() {
	fault := os.Getenv(faultVariable)
	if fault == "logs to its client" || fault == "follows links" {
		faultyUnderInetd(fault)
		return
	}
	switch fault {
	case "exits with another status":
		if len(os.Args) != 4 {
			os.Exit(1)
		}
	case "spins":
		runtime.GOMAXPROCS(8) // so that a busy machine gives it much time
		for range 8 {
			go func() {
				for {
				}
			}()
		}
	case "ends by a signal":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, harmless...)
		go func() { <-signals; os.Exit(0) }()
	case "ignores SIGTERM":
		signal.Ignore(terminate)
	case "listens at one interface":
		os.Args[len(os.Args)-1] = "127.0.0.1"
	}
	address := zen.ParseCommandLine("A server with a fault.")
	var listener net.Listener = zen.Listen(address)
	if strings.Contains(fault, "shortage") || strings.Contains(fault, "without") || strings.Contains(fault, "for ever") {
		listener = listener.(zen.Listener).TCPListener
	}
	var one sync.Mutex
	for {
		conn, err := listener.Accept()
		if err != nil {
			switch fault {
			case "is deaf after a shortage":
				log.Print("Accept error: too many open files; retrying in 1s")
				select {}
			case "spins in a shortage":
				log.Print("Accept error: too many open files; retrying in 1s")
			case "retries for ever":
				log.Printf("Accept error: %v; retrying in 1s", err)
				time.Sleep(time.Second)
			default:
				log.Fatal(err)
			}
			continue
		}
		go func() {
			if fault == "serves one client" {
				one.Lock()
				defer one.Unlock()
			}
			faultyConversation(conn.(*net.TCPConn), fault)
		}()
	}
}

var (
	mixed   = &zen.Conversation{}
	mixing  sync.Mutex
	kept    [][]byte
	leaked  []*os.File
	serving sync.Mutex
)

// A conn is a connection with a fault.
type conn struct {
	*net.TCPConn
	fault   string
	holding bool // the lock that starves the others
	written int
}

func faultyConversation(tcp *net.TCPConn, fault string) {
	c := &conn{TCPConn: tcp, fault: fault}
	defer tcp.Close()
	switch fault {
	case "has no limit", "keeps what a client sends":
		withoutLimit(c)
		return
	case "frames by segment":
		bySegment(c)
		return
	case "leaks descriptors":
		file, _ := tcp.File()
		mixing.Lock()
		leaked = append(leaked, file)
		mixing.Unlock()
	}
	if fault == "" {
		zen.HandleConversation(tcp)
		return
	}
	conversation := zen.NewConversation(tcp.RemoteAddr())
	if fault == "mixes the clients" {
		conversation = mixed
	}
	data := make([]byte, 4096)
	for {
		n, err := c.Read(data)
		if fault == "mixes the clients" {
			mixing.Lock()
		}
		if fault == "thinks for one client" {
			serving.Lock()
		}
		answers, tooLong := conversation.AppendAnswers(nil, data[:n])
		if fault == "thinks for one client" {
			serving.Unlock()
		}
		if fault == "mixes the clients" {
			mixing.Unlock()
		}
		if fault == "has a smaller limit" && n == 4096 {
			tooLong = io.ErrShortBuffer
		}
		if len(answers) > 0 {
			if _, err := c.Write(answers); err != nil {
				return
			}
		}
		switch {
		case tooLong != nil:
			conversation.End(tooLong)
			if fault != "closes at once" {
				tcp.CloseWrite()
				tcp.SetReadDeadline(time.Now().Add(time.Second))
				io.Copy(io.Discard, tcp)
			}
			return
		case err == io.EOF && fault == "never closes its side":
			select {}
		case err != nil:
			if fault == "dies on a reset" && err != io.EOF {
				log.Fatal(err)
			}
			if fault == "logs another line" {
				log.Print("Bye")
				return
			}
			conversation.End(err)
			return
		}
		if fault == "logs what a client sends" && n > 0 {
			log.Printf("%s", data[:n])
		}
	}
}

func (c *conn) Read(data []byte) (int, error) {
	if c.fault == "starves the others" {
		return c.readAlone(data)
	}
	n, err := c.TCPConn.Read(data)
	switch c.fault {
	case "trims spaces":
		n = copy(data, bytes.TrimSpace(data[:n]))
	case "drops bytes":
		n = copy(data, bytes.ReplaceAll(data[:n], []byte("\n"), nil))
	}
	return n, err
}

// readAlone keeps the others from reading for as long as this client sends.
func (c *conn) readAlone(data []byte) (int, error) {
	if c.holding {
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := c.TCPConn.Read(data); err == nil {
			return n, nil
		}
		c.SetReadDeadline(time.Time{})
		c.holding = false
		serving.Unlock()
	}
	n, err := c.TCPConn.Read(data)
	if err == nil {
		serving.Lock()
		c.holding = true
	}
	return n, err
}

func (c *conn) Write(answers []byte) (int, error) {
	switch c.fault {
	case "loses answers at a half-close":
		go func() {
			time.Sleep(time.Millisecond) // the connection may be closed then
			c.TCPConn.Write(answers)
		}()
		return len(answers), nil
	case "loses answers behind a slow reader":
		if c.written += len(answers); c.written > 100_000 {
			return len(answers), nil // as if a short write were a whole one
		}
	case "keeps memory after a burst":
		mixing.Lock()
		kept = append(kept, bytes.Clone(answers))
		mixing.Unlock()
	}
	return c.TCPConn.Write(answers)
}

// withoutLimit keeps all that a client sends, and sends answers in its own time.
func withoutLimit(c *conn) {
	answers := make(chan []byte, 1<<20)
	go func() {
		for answer := range answers {
			c.TCPConn.Write(answer)
		}
		c.Close()
	}()
	defer close(answers)
	var question []byte
	data := make([]byte, 4096)
	for {
		n, err := c.TCPConn.Read(data)
		for _, b := range data[:n] {
			if question = append(question, b); b == '?' {
				answers <- []byte(zen.Answer(question))
				question = question[:0]
			}
		}
		if err != nil {
			return
		}
	}
}

// bySegment takes what one read returns for one question.
func bySegment(c *conn) {
	data := make([]byte, 1<<16)
	for {
		n, err := c.TCPConn.Read(data)
		if n > 0 {
			io.WriteString(c.TCPConn, zen.Answer(data[:n]))
		}
		if err != nil {
			return
		}
	}
}
