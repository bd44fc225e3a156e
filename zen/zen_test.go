package zen

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/listening"
)

// patience is how long a test waits for what must happen, at each step.
const patience = 30 * time.Second

// within fails the test if f does not return soon.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("nothing after %v", patience)
	}
}

// model is the protocol said another way: from the whole stream at once. It
// returns the answers, what is left of a question, and whether one is too long.
func model(stream []byte) (answers, rest string, tooLong bool) {
	for _, question := range strings.SplitAfter(string(stream), "?") {
		if len(question) > MaxQuestion {
			return answers, "", true
		}
		switch question {
		case "Beautiful is better than?":
			answers += "Ugly."
		case "Explicit is better than?":
			answers += "Implicit."
		case "Simple is better than?":
			answers += "Complex."
		default:
			if !strings.HasSuffix(question, "?") {
				return answers, question, false
			}
			answers += "Error: unknown aphorism."
		}
	}
	return answers, "", false
}

// feed hands stream to a conversation in pieces whose lengths come from cut.
func feed(stream []byte, cut func() int) (answers string, c *Conversation, err error) {
	c = &Conversation{}
	var dst []byte
	for len(stream) > 0 && err == nil {
		n := min(max(cut(), 1), len(stream))
		piece := bytes.Clone(stream[:n])
		dst, err = c.AppendAnswers(dst, piece)
		clear(piece) // it must have kept none of it
		stream = stream[n:]
	}
	return string(dst), c, err
}

func check(t *testing.T, stream []byte, cut func() int) {
	t.Helper()
	answers, c, err := feed(stream, cut)
	wantAnswers, wantRest, tooLong := model(stream)
	if answers != wantAnswers {
		t.Errorf("answers to %.200q: %.200q, want %.200q", stream, answers, wantAnswers)
	}
	if (err != nil) != tooLong {
		t.Errorf("error after %d bytes: %v, want one: %v", len(stream), err, tooLong)
	}
	if err == nil && string(c.question) != wantRest {
		t.Errorf("question left: %q, want %q", c.question, wantRest)
	}
	if len(c.question) > MaxQuestion || cap(c.question) > 2*MaxQuestion {
		t.Errorf("remembers %d bytes in %d", len(c.question), cap(c.question))
	}
}

func TestAnswer(t *testing.T) {
	for _, question := range []string{
		"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
		"?", "Simple is better than", " Simple is better than?", "simple is better than?", "\x00\xff?",
	} {
		want, _, _ := model([]byte(question))
		if !strings.HasSuffix(question, "?") {
			want = "Error: unknown aphorism."
		}
		if got := Answer([]byte(question)); got != want {
			t.Errorf("Answer(%q) = %q, want %q", question, got, want)
		}
	}
	if len(Aphorisms) != 3 {
		t.Errorf("%d aphorisms", len(Aphorisms))
	}
}

// The longest question, and one byte more, cut at every place.
func TestMaxQuestion(t *testing.T) {
	for _, length := range []int{MaxQuestion - 1, MaxQuestion, MaxQuestion + 1, 2 * MaxQuestion} {
		question := strings.Repeat("x", length-1) + "?"
		if _, _, err := feed([]byte(question), func() int { return length }); (err != nil) != (length > MaxQuestion) {
			t.Fatalf("%d bytes: %v", length, err)
		}
		stream := []byte("Simple is better than?" + question + "Simple is better than?")
		for first := 1; first < len(stream); first++ {
			n := first
			check(t, stream, func() int { defer func() { n = len(stream) }(); return n })
		}
		check(t, stream, func() int { return 1 })
		check(t, []byte(question[:length-1]), func() int { return length })
	}
}

func TestPipelinedQuestions(t *testing.T) {
	stream := []byte(strings.Repeat("Simple is better than?Explicit is better than??", 500))
	check(t, stream, func() int { return len(stream) })
	check(t, stream, func() int { return 4096 })
	check(t, stream, func() int { return 1 })
}

// Whatever the stream and wherever it is cut, the answers, the error and the
// rest are those of the model.
func FuzzAppendAnswers(f *testing.F) {
	f.Add([]byte("Simple is better than?Beautiful is better than?"), uint64(1), uint16(30))
	f.Add([]byte("??Explicit is better than?Expl"), uint64(2), uint16(1))
	f.Add([]byte("\x00\xff?\xe4\xbc\x98\xe7\xbe\x8e?"), uint64(3), uint16(3))
	f.Add([]byte("Simple is better than?"+strings.Repeat("x", MaxQuestion)+"?"), uint64(4), uint16(700))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, longest uint16) {
		random := rand.New(rand.NewPCG(seed, 0))
		check(t, stream, func() int { return 1 + random.IntN(int(longest)+1) })
	})
}

func BenchmarkAppendAnswers(b *testing.B) {
	questions := []byte(strings.Repeat("Simple is better than?", 100))
	c := &Conversation{}
	var dst []byte
	b.ReportAllocs()
	for range b.N {
		dst, _ = c.AppendAnswers(dst[:0], questions)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(100*b.N), "ns/question")
}

func TestAppendAnswersDoesNotAllocate(t *testing.T) {
	questions := []byte(strings.Repeat("Simple is better than??", 100))
	c := &Conversation{}
	dst, _ := c.AppendAnswers(nil, questions)
	if n := testing.AllocsPerRun(100, func() { dst, _ = c.AppendAnswers(dst[:0], questions) }); n != 0 {
		t.Errorf("%v allocations for 200 whole questions", n)
	}
}

// captureLog returns what f logs.
func captureLog(f func()) string {
	var lines bytes.Buffer
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	log.SetFlags(0)
	defer log.SetFlags(log.LstdFlags)
	f()
	return lines.String()
}

func TestEndLogs(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41285}
	reset := &net.OpError{Op: "read", Net: "tcp", Addr: address,
		Err: os.NewSyscallError("read", errors.New("connection reset by peer"))}
	macOS := &net.OpError{Op: "write", Net: "tcp", Addr: address, Err: os.NewSyscallError("write", syscall.EPROTOTYPE)}
	for _, test := range []struct {
		data string
		err  error
		want string
	}{
		{"", io.EOF, "Client socket to 127.0.0.1:41285 has closed\n"},
		{"Simple is better than?", io.EOF, "Client socket to 127.0.0.1:41285 has closed\n"},
		{"Simple is better than?Beau", io.EOF, "Client 127.0.0.1:41285 error: received \"Beau\" then socket closed\n"},
		{"\nListening at 6.6.6.6:1060\x1b", io.EOF, `Client 127.0.0.1:41285 error: received "\nListening at 6.6.6.6:1060\x1b" then socket closed` + "\n"},
		{strings.Repeat("x", MaxQuestion), io.EOF, `Client 127.0.0.1:41285 error: received "` + strings.Repeat("x", 40) + `" then socket closed` + "\n"},
		{"Beau", reset, "Client 127.0.0.1:41285 error: read: connection reset by peer\n"},
		{"", macOS, "Client 127.0.0.1:41285 error: write: " + syscall.ECONNRESET.Error() + "\n"},
		{"", errTooLong, "Client 127.0.0.1:41285 error: question longer than 4096 bytes\n"},
	} {
		got := captureLog(func() {
			c := NewConversation(address)
			c.AppendAnswers(nil, []byte(test.data))
			c.End(test.err)
		})
		if want := "Accepted connection from 127.0.0.1:41285\n" + test.want; got != want {
			t.Errorf("%q, %v:\n%swant\n%s", test.data, test.err, got, want)
		}
	}
}

// recorder counts the reads and writes of a connection.
type recorder struct {
	net.Conn
	reads, writes int
}

func (r *recorder) Read(b []byte) (int, error)  { r.reads++; return r.Conn.Read(b) }
func (r *recorder) Write(b []byte) (int, error) { r.writes++; return r.Conn.Write(b) }

// Over a pipe each write of the client is one read of the server: the cuts are
// exactly these. Each read is answered with at most one write.
func TestHandleConversationReadsAndWrites(t *testing.T) {
	client, server := net.Pipe()
	conn := &recorder{Conn: server}
	captureLog(func() {
		done := make(chan struct{})
		go func() { HandleConversation(conn); close(done) }()
		answers := make([]byte, 100)
		for _, turn := range []struct{ question, answer string }{
			{"Simple is better than?", "Complex."},
			{"Sim", ""},
			{"ple is better than?Explicit is better than??Beau", "Complex.Implicit.Error: unknown aphorism."},
			{"tiful is better than?", "Ugly."},
		} {
			client.SetDeadline(time.Now().Add(patience))
			if _, err := client.Write([]byte(turn.question)); err != nil {
				t.Fatal(err)
			}
			if turn.answer == "" {
				continue
			}
			if n, err := client.Read(answers); string(answers[:n]) != turn.answer {
				t.Errorf("answer to %q: %q, %v", turn.question, answers[:n], err)
			}
		}
		client.Close()
		within(t, func() { <-done })
	})
	if conn.reads != 5 || conn.writes != 3 {
		t.Errorf("%d reads and %d writes, want 5 and 3", conn.reads, conn.writes)
	}
}

// An endless connection is one whose client always has a question.
type endless struct {
	Conn
	question string
}

func (e endless) Read(data []byte) (int, error)     { return copy(data, e.question), nil }
func (e endless) Write(answers []byte) (int, error) { return len(answers), nil }

// A buffer for answers is used again.
func TestHandleRequestDoesNotAllocate(t *testing.T) {
	var conn Conn = endless{question: "Simple is better than?"}
	conversation := &Conversation{}
	data := make([]byte, MaxQuestion)
	if n := testing.AllocsPerRun(1000, func() { handleRequest(conn, conversation, data) }); n != 0 {
		t.Errorf("%v allocations for a read", n)
	}
}

func listen(t *testing.T) (listener Listener) {
	captureLog(func() { listener = Listen("127.0.0.1:0") })
	t.Cleanup(func() { listener.Close() })
	return listener
}

// A listener that has timed out or is closed is not a shortage.
func TestAcceptFails(t *testing.T) {
	listener := listen(t)
	listener.Timeout = time.Millisecond
	for range 2 {
		within(t, func() {
			if err := AcceptConnectionsForever(listener); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after the timeout: %v", err)
			}
		})
	}
	listener.Close()
	within(t, func() {
		if err := AcceptConnectionsForever(listener); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// If the system does not have what the program needs, Listen ends the program before
// it listens. The test starts itself again to see that.
func TestMissing(t *testing.T) {
	const variable = "ZEN_TEST_MISSING"
	if os.Getenv(variable) != "" {
		log.SetFlags(0)
		listening.Missing = errors.New("this system has no event loop")
		Listen("127.0.0.1:0")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMissing$")
	again.Env = append(os.Environ(), variable+"=1")
	output, err := again.CombinedOutput()
	if code := again.ProcessState.ExitCode(); code != 1 || string(output) != "this system has no event loop\n" {
		t.Errorf("exit status %d, %v, output %q", code, err, output)
	}
}

// Half a question costs its length, and nothing is kept of a whole one.
func TestQuestionIsForgotten(t *testing.T) {
	c := &Conversation{}
	c.AppendAnswers(nil, []byte("S"))
	if cap(c.question) > 64 {
		t.Errorf("a buffer of %d bytes for one byte", cap(c.question))
	}
	c.AppendAnswers(nil, []byte("imple is better than?"))
	if c.question != nil {
		t.Errorf("a buffer of %d bytes when the question is complete", cap(c.question))
	}
	c.AppendAnswers(nil, []byte("Simple is better than?"))
	if c.question != nil {
		t.Errorf("a buffer of %d bytes for a question that came whole", cap(c.question))
	}
}

// To import the package changes nothing in the program that does.
func TestImportChangesNothing(t *testing.T) {
	if log.Flags() != log.LstdFlags {
		t.Errorf("the flags of package log are %d", log.Flags())
	}
	if flag.Lookup("p") != nil {
		t.Error("there is a flag -p")
	}
}
