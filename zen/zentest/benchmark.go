package zentest

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// Benchmark measures the server, not its clients. Only Linux tells what a server uses.
// README.md says what the figures mean. A server that starts a process for each client
// gets 12 at most.
func Benchmark(b *testing.B, server Server) {
	if !hasProc() {
		b.Skip("SKIPPED: only Linux tells in /proc what a server uses")
	}
	if server.AtOnce > 0 {
		b.Skip("SKIPPED: this server serves a limited number of clients at once")
	}
	b.Run("Questions", func(b *testing.B) { questions(b, start(b, server)) })
	b.Run("Silent", func(b *testing.B) {
		for b.Loop() {
			silent(b, start(b, server))
		}
	})
	b.Run("Flood", func(b *testing.B) { floods(b, start(b, server)) })
}

func questions(b *testing.B, s *service) {
	clients := s.connectMany(b, 16)
	before := look(s.processes()).used
	b.ResetTimer()
	done := make(chan bool)
	for i, c := range clients {
		go func() {
			got := make([]byte, len(answer))
			for n := i; n < b.N; n += len(clients) {
				io.WriteString(c, question) // if this fails, so does the read
				if _, err := io.ReadFull(c, got); err != nil {
					b.Error(err)
					break
				}
			}
			done <- true
		}()
	}
	for range clients {
		<-done
	}
	b.StopTimer()
	b.ReportMetric(float64((look(s.processes()).used-before).Nanoseconds())/1000/float64(b.N), "µs/question")
}

func silent(b *testing.B, s *service) {
	before := s.resources()["bytes of memory"]
	var clients []*client
	for range s.some(2000) {
		clients = append(clients, s.connect(b))
	}
	for _, step := range [][2]string{{"", "B/new"}, {"x", "B/half"}, {strings.Repeat("?", 4097), "B/burst"}} {
		sends, unit := step[0], step[1]
		for _, c := range clients {
			c.send(sends)
			c.expect(model(sends))
		}
		s.rests()
		b.ReportMetric(float64(s.resources()["bytes of memory"]-before)/float64(len(clients)), unit)
	}
	for _, c := range clients {
		c.Close()
	}
}

func floods(b *testing.B, s *service) {
	polite := s.connectMany(b, 1)[0]
	for _, c := range s.connectMany(b, 16) {
		go c.flood()
		c.expect(floodAnswers[:1]) // the flood has begun
		c.SetDeadline(time.Time{})
		go io.Copy(io.Discard, c.TCPConn)
	}
	var waits []time.Duration
	before, began := look(s.processes()).used, time.Now()
	b.ResetTimer()
	for range b.N {
		asked := time.Now()
		polite.ask()
		waits = append(waits, time.Since(asked))
		time.Sleep(10 * time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(look(s.processes()).used-before)/float64(time.Since(began)), "processors")
	slices.Sort(waits)
	b.ReportMetric(waits[len(waits)/2].Seconds()*1000, "ms/answer")
}
