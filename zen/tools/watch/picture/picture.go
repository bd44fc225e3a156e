// Package picture draws what the clients of a server see: a row for each client,
// and a column for each tick of time.
//
//	A  A------A|
//	B  .B------B|
//
// The symbols in the row of client A are
//
//	.  it waits for its answer
//	A  its answer comes
//	-  it is silent
//	|  it leaves
//	!  an error ends its conversation
//
// What the clients do is in behaviours.go.
package picture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// An event is what happened to a client, and when.
type event struct {
	at     time.Duration // since the picture began
	symbol byte
}

// row returns the row of a client with this history, drawn up to now. It rounds
// each time to the nearest tick, so an event may be a little late. The symbols '.'
// and '-' last until the next event. A letter takes the place of the tick that is
// just over. The row ends with '|' or '!'.
func row(history []event, now, tick time.Duration) string {
	var symbols []byte
	lasting := byte(' ') // not connected yet
	extend := func(length int) {
		for len(symbols) < length {
			symbols = append(symbols, lasting)
		}
	}
	for _, e := range history {
		ticks := int(e.at.Round(tick) / tick)
		switch e.symbol {
		case '.', '-':
			extend(ticks)
			lasting = e.symbol
		case '|', '!':
			extend(ticks)
			return string(append(symbols, e.symbol))
		default:
			before := max(ticks-1, 0)
			extend(before)
			symbols = append(symbols[:before], e.symbol)
		}
	}
	extend(int(now.Round(tick) / tick))
	return string(symbols)
}

// A Picture is drawn while its clients talk to the server.
type Picture struct {
	tick    time.Duration
	begin   time.Time
	clients []*client
	running sync.WaitGroup
	mu      sync.Mutex // for the history of each client
}

// A client has a row in the picture.
type client struct {
	picture  *Picture
	label    string // its first letter is the symbol of an answer
	conn     net.Conn
	deadline time.Time // when its time is over
	history  []event
	err      error
}

// Start connects clients to the server at address: first one for each of beside,
// which are of [Kinds], then the polite ones, A to F. Each sends its first question
// before the next one connects, so their order is always the same. Start returns
// when all are connected. It returns an error if the first one cannot connect.
func Start(address string, tick time.Duration, beside ...string) (*Picture, error) {
	p := &Picture{tick: tick}
	for _, label := range slices.Concat(beside, strings.Split("ABCDEF", "")) {
		conn, err := net.DialTimeout("tcp", address, maxTicks*tick)
		if len(p.clients) == 0 {
			if err != nil {
				return nil, err
			}
			p.begin = time.Now()
			address = conn.RemoteAddr().String() // resolve a name once: that takes time
		}
		c := &client{picture: p, label: label, conn: conn}
		p.clients = append(p.clients, c)
		if err != nil {
			c.end(err)
			continue
		}
		b, ok := kinds[label]
		if !ok {
			b = polite
		}
		c.open(b)
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			err := b.rest(c)
			conn.Close()
			c.end(err)
		}()
	}
	return p, nil
}

// open sends the opening of b.
func (c *client) open(b behaviour) {
	c.deadline = c.picture.begin.Add(time.Duration(b.ticks) * c.picture.tick)
	c.conn.SetDeadline(c.deadline)
	if b.opening == "" {
		c.record('-')
		return
	}
	c.record('.')
	io.WriteString(c.conn, b.opening) // if this fails, so does the rest
}

// record adds an event to c's history. Events that look the same are added once: a
// flood gets thousands of answers in a tick.
func (c *client) record(symbol byte) {
	p := c.picture
	p.mu.Lock()
	defer p.mu.Unlock()
	now := event{time.Since(p.begin).Round(p.tick), symbol}
	if !slices.Contains(c.history, now) {
		c.history = append(c.history, now)
	}
}

// end ends c's row. A client whose time is over leaves like any other.
func (c *client) end(err error) {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.record('|')
		return
	}
	c.record('!')
	c.err = fmt.Errorf("%s: %w", c.label, err)
}

// Wait waits until all clients have left. It returns the error of the first row
// that ends with '!', or nil.
func (p *Picture) Wait() error {
	p.running.Wait()
	for _, c := range p.clients {
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// String returns the picture as it is now, a line for each client.
func (p *Picture) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	width := 0
	for _, c := range p.clients {
		width = max(width, len(c.label))
	}
	now := time.Since(p.begin)
	var lines strings.Builder
	for _, c := range p.clients {
		fmt.Fprintf(&lines, "%-*s  %s\n", width, c.label, row(c.history, now, p.tick))
	}
	return lines.String()
}
