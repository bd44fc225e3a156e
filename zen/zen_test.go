package zen

import (
	"bytes"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// model is the protocol said another way: from the whole stream at once. It
// returns the answers, what is left of a question, and whether one is too long.
func model(stream []byte) (answers, rest string, tooLong bool) {
	for question := range strings.SplitAfterSeq(string(stream), "?") {
		switch answer, known := Aphorisms[question]; {
		case len(question) > MaxQuestion:
			return answers, "", true
		case !strings.HasSuffix(question, "?"):
			rest = question
		case known:
			answers += answer
		default:
			answers += unknown
		}
	}
	return answers, rest, false
}

const unknown = "Error: unknown aphorism."

// check hands stream to a conversation in pieces whose lengths come from cut, and
// compares the answers, the error and the rest with the model.
func check(t *testing.T, stream []byte, cut func() int) {
	t.Helper()
	c := &Conversation{}
	var answers []byte
	var err error
	for rest := stream; len(rest) > 0 && err == nil; {
		n := min(cut(), len(rest))
		piece := bytes.Clone(rest[:n])
		answers, err = c.AppendAnswers(answers, piece)
		clear(piece) // c must have kept none of it
		rest = rest[n:]
		if cap(c.question) > 64+2*len(c.question) {
			t.Errorf("keeps %d bytes in a buffer of %d", len(c.question), cap(c.question))
		}
	}
	wantAnswers, wantRest, tooLong := model(stream)
	if string(answers) != wantAnswers || (err != nil) != tooLong {
		t.Errorf("answers to %.200q: %.200q, error %v; want %.200q, an error: %v", stream, answers, err, wantAnswers, tooLong)
	}
	if err == nil && (string(c.question) != wantRest || (c.question == nil) != (wantRest == "")) {
		t.Errorf("after %.200q the rest is %.200q, want %.200q", stream, c.question, wantRest)
	}
}

// Whatever the stream and wherever it is cut, the answers are those of the model.
func FuzzAppendAnswers(f *testing.F) {
	f.Add([]byte("Simple is better than?Beautiful is better than?"), uint64(1), uint16(30))
	f.Add([]byte("??Explicit is better than?Expl"), uint64(2), uint16(1))
	f.Add([]byte("\x00\xff?\xe4\xbc\x98\xe7\xbe\x8e? Simple is better than?simple is better than?"), uint64(3), uint16(3))
	f.Add(bytes.Repeat([]byte("Simple is better than??"), 500), uint64(4), uint16(4096))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, longest uint16) {
		random := rand.New(rand.NewPCG(seed, 0))
		check(t, stream, func() int { return 1 + random.IntN(int(longest)+1) })
	})
}

// The longest question, and one byte more, cut at every place.
func TestMaxQuestion(t *testing.T) {
	for length := MaxQuestion; length <= MaxQuestion+1; length++ {
		for _, end := range []string{"?Simple is better than?", "x"} {
			stream := []byte("Simple is better than?" + strings.Repeat("x", length-1) + end)
			check(t, stream, func() int { return 1 })
			for first := range len(stream) {
				pieces := []int{first + 1, len(stream)}
				check(t, stream, func() int { n := pieces[0]; pieces = pieces[1:]; return n })
			}
		}
	}
}

// A script is a connection whose reads are known. It records the writes, and logs when it
// is closed.
type script struct {
	reads, writes []string
	writeErr      error
}

func (s *script) Read(data []byte) (int, error) {
	if len(s.reads) == 0 {
		return 0, io.EOF
	}
	n := copy(data, s.reads[0])
	s.reads = s.reads[1:]
	return n, nil
}

func (s *script) Write(answers []byte) (int, error) {
	s.writes = append(s.writes, string(answers))
	return len(answers), s.writeErr
}

func (s *script) Close() error         { log.Print("closed"); return nil }
func (s *script) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41285} }

// Each read is answered by one write, or by none. The first error is the end.
func TestHandleConversation(t *testing.T) {
	reset := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPROTOTYPE)} // of macOS
	for _, test := range []struct {
		reads    string // between bars, as the writes
		writeErr error
		writes   string
		end      string
	}{
		{"Beautiful is better than?|Sim|ple is better than?Explicit is better than??Beau", nil, "Ugly.|Complex.Implicit." + unknown, `received "Beau" then socket closed`},
		{"?" + strings.Repeat("x", MaxQuestion-1) + "|xx|?", nil, unknown, "question longer than 4096 bytes"},
		{"?|?", reset, unknown, "write: " + syscall.ECONNRESET.Error()},
	} {
		conn := &script{reads: strings.Split(test.reads, "|"), writeErr: test.writeErr}
		lines := captureLog(func() { HandleConversation(conn) })
		if writes := strings.Join(conn.writes, "|"); writes != test.writes {
			t.Errorf("writes %q, want %q", writes, test.writes)
		}
		if want := "Accepted connection from 127.0.0.1:41285\nClient 127.0.0.1:41285 error: " + test.end + "\nclosed\n"; lines != want {
			t.Errorf("log:\n%swant\n%s", lines, want)
		}
	}
}

// An endless connection is one whose client always asks.
type endless struct{ Conn }

func (endless) Read(data []byte) (int, error)     { return copy(data, "Simple is better than?"), nil }
func (endless) Write(answers []byte) (int, error) { return len(answers), nil }

// The buffers are used again, and a question makes none.
func TestHandleRequestDoesNotAllocate(t *testing.T) {
	var conn Conn = endless{}
	conversation := &Conversation{}
	data := make([]byte, MaxQuestion)
	if n := testing.AllocsPerRun(1000, func() { handleRequest(conn, conversation, data) }); n != 0 {
		t.Errorf("%v allocations for a read", n)
	}
}

// captureLog returns what f logs.
func captureLog(f func()) string {
	var lines strings.Builder
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	log.SetFlags(0)
	f()
	return lines.String()
}
