package zen

import (
	"bytes"
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

// Whatever the stream and wherever it is cut, the answers are those of the model.
func FuzzAppendAnswers(f *testing.F) {
	f.Add([]byte("Simple is better than?Beautiful is better than?"), uint64(1), uint16(30))
	f.Add([]byte("??Explicit is better than?Expl"), uint64(2), uint16(1))
	f.Add([]byte("\x00\xff?\xe4\xbc\x98\xe7\xbe\x8e? Simple is better than?simple is better than?"), uint64(3), uint16(3))
	f.Add(bytes.Repeat([]byte("Simple is better than??"), 500), uint64(4), uint16(4096))
	for length := MaxQuestion; length <= MaxQuestion+1; length++ {
		for _, longest := range []uint16{0, 1000, 5000} {
			long := "Simple is better than?" + strings.Repeat("x", length-1)
			f.Add([]byte(long+"?Simple is better than?"), uint64(5), longest)
			f.Add([]byte(long+"x"), uint64(6), longest)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, longest uint16) {
		random := rand.New(rand.NewPCG(seed, 0))
		c := &Conversation{}
		var answers []byte
		var err error
		for rest := stream; len(rest) > 0 && err == nil; {
			n := min(1+random.IntN(int(longest)+1), len(rest))
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
	})
}

// A script is a connection whose reads are known. Its second write fails as on macOS,
// when a reset arrives meanwhile.
type script struct{ reads, writes []string }

func (s *script) Read(data []byte) (int, error) {
	n := copy(data, s.reads[0])
	s.reads = s.reads[1:]
	return n, nil
}

func (s *script) Write(answers []byte) (int, error) {
	if s.writes = append(s.writes, string(answers)); len(s.writes) == 2 {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPROTOTYPE)}
	}
	return len(answers), nil
}

func (s *script) Close() error         { log.Print("closed"); return nil }
func (s *script) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41285} }

// Each read is answered by one write, or by none. The first error is the end.
func TestHandleConversation(t *testing.T) {
	var lines strings.Builder
	log.SetOutput(&lines)
	log.SetFlags(0)
	conn := &script{reads: []string{"Beautiful is better than?", "Sim", "ple is better than?Explicit is better than??Beau", "?"}}
	HandleConversation(conn)
	log.SetOutput(os.Stderr)
	if writes := strings.Join(conn.writes, "|"); writes != "Ugly.|Complex.Implicit."+unknown {
		t.Errorf("writes %q", writes)
	}
	if want := "Accepted connection from 127.0.0.1:41285\nClient 127.0.0.1:41285 error: write: " + syscall.ECONNRESET.Error() + "\nclosed\n"; lines.String() != want {
		t.Errorf("log:\n%swant\n%s", &lines, want)
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
