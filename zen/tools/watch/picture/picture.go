// Package picture draws what the clients of a server see: a row for each client,
// and a column for each tick of time.
//
//	A  A------A|
//	B  .B------B|
//
// In the middle of each tick it adds a symbol to each row: '.' if the client waits, '-'
// if it is silent, '|' if it has left, '!' if an error has ended its conversation.
// Clients ask when a tick begins, and the server thinks for a tick. So answers come
// between two symbols, and the answer's letter replaces the one before it.
package picture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"fopnp/chapter07/zen"
)

// A Picture is drawn while its clients talk to the server.
type Picture struct {
	tick    time.Duration
	clients []*client
	mu      sync.Mutex // for the rows
	err     error      // the first one
}

// A client has a row in the picture.
type client struct {
	behaviour
	label string             // its first letter is the symbol of an answer
	life  context.Context    // done when it has left, or its time is over
	leave context.CancelFunc // closes conn
	conn  net.Conn

	row      []byte
	state    atomic.Int32  // the next symbol, or 0 if the row is complete
	answered atomic.Bool   // since the last look
	silent   atomic.Int32  // ticks left until it asks again
	asks     chan struct{} // closed when none is left
	err      error         // why state is '!'
}

// Start connects clients to the server at address: first one for each of beside,
// which are of [Kinds], then the polite ones, A to F. Each sends its first question
// before the next one connects, so their order is always the same. Start returns an
// error if the first one fails to connect within a second. If connecting takes longer,
// the picture shows clients that wait.
func Start(address string, tick time.Duration, beside ...string) (*Picture, error) {
	p := &Picture{tick: tick}
	for i, label := range slices.Concat(beside, strings.Split("ABCDEF", "")) {
		c := &client{behaviour: polite, label: label, asks: make(chan struct{})}
		if i < len(beside) {
			c.behaviour = kinds[label]
		}
		c.life, c.leave = context.WithCancel(context.Background())
		c.state.Store('.')
		p.clients = append(p.clients, c)
	}
	first := make(chan error, 1)
	go p.connect(address, first)
	select {
	case err := <-first:
		return p, err
	case <-time.After(time.Second):
		return p, nil
	}
}

// connect connects the clients. It sends to first whether the first one could.
func (p *Picture) connect(address string, first chan<- error) {
	var dialer net.Dialer
	for i, c := range p.clients {
		conn, err := dialer.DialContext(c.life, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w; is a server running at %s?", err, address)
		}
		if i == 0 {
			first <- err
		}
		if err != nil {
			c.end(err)
			continue
		}
		address = conn.RemoteAddr().String() // resolve a name once: that takes time
		c.conn = conn
		context.AfterFunc(c.life, func() { conn.Close() })
		io.WriteString(conn, c.opening) // if this fails, so does the rest
		go func() { c.end(c.rest(c)) }()
	}
}

// end closes c's connection, and sets the last symbol of its row. err is nil if c has
// done all that it does.
func (c *client) end(err error) {
	if c.life.Err() != nil { // its time is over
		err = nil
		if c.ticks == maxTicks {
			err = fmt.Errorf("no answer within %d ticks", maxTicks)
		}
	}
	c.leave()
	if err == nil {
		c.state.Store('|')
		return
	}
	c.err = fmt.Errorf("%s: %w", c.label, err)
	c.state.Store('!')
}

// Wait draws the picture until all clients have left. It returns the first error.
// While the program is stopped, as by Control-Z, no ticks pass.
func (p *Picture) Wait() error {
	time.Sleep(p.tick / 2)
	for ticks := time.Tick(p.tick); p.look(); {
		<-ticks
	}
	return p.err
}

// look adds a symbol to each row, and reports whether a row goes on. What a client does
// after a number of ticks, it does when the last of them is over: half a tick later.
func (p *Picture) look() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		symbol := byte(c.state.Load())
		if symbol == 0 {
			continue
		}
		if c.answered.Swap(false) {
			if last := len(c.row) - 1; last >= 0 {
				c.row[last] = c.label[0]
			} else {
				symbol = c.label[0] // no tick is over: the server does not think
			}
		}
		c.row = append(c.row, symbol)
		if symbol == '|' || symbol == '!' {
			c.state.Store(0)
			p.err = cmp.Or(p.err, c.err)
			continue
		}
		more = true
		if len(c.row) == c.ticks {
			time.AfterFunc(p.tick/2, c.leave)
		}
		if c.silent.Load() > 0 && c.silent.Add(-1) == 0 {
			time.AfterFunc(p.tick/2, func() { close(c.asks) })
		}
	}
	return more
}

// String returns the picture as it is now, a line for each client.
func (p *Picture) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, c := range p.clients {
		fmt.Fprintf(table, "%s\t%s\n", c.label, c.row)
	}
	table.Flush()
	return text.String()
}

// A behaviour is what a client does: it sends its opening, and then does the rest.
type behaviour struct {
	opening string                // sent before the next client connects; "" if it is silent
	ticks   int                   // after so many its time is over
	rest    func(c *client) error // returns when it leaves, or why it must
}

const (
	question    = "Simple is better than?"
	maxTicks    = 70 // of a polite client, and so of a picture
	besideTicks = 12 // of a client beside them
)

var (
	answer = zen.Aphorisms[question]

	// A server reads four long questions at once. It would read 4096 times "?", and
	// an event loop would think about all of them before it serves the next client.
	longQuestion = strings.Repeat("x", 999) + "?"
	tooLong      = strings.Repeat("x", zen.MaxQuestion+1)
)

// A polite client asks, waits for the answer, is silent for six ticks, and asks again.
var polite = behaviour{question, maxTicks, func(c *client) error {
	if err := c.hear(); err != nil {
		return err
	}
	c.silent.Store(6)
	c.state.Store('-')
	<-c.asks
	c.state.Store('.')
	io.WriteString(c.conn, question) // if this fails, so does the read
	return c.hear()
}}

// Kinds are the clients that can stand beside the six: silent asks nothing; flood
// asks as fast as it can, and reads the answers; deaf does so and reads nothing;
// endless sends too long a question, and does not hang up. Each lives for 12 ticks.
var Kinds = slices.Sorted(maps.Keys(kinds))

var kinds = map[string]behaviour{
	"silent": {"", besideTicks, func(c *client) error {
		c.state.Store('-')
		return c.receive()
	}},
	"flood": {longQuestion, besideTicks, func(c *client) error {
		go c.ask()
		return c.receive()
	}},
	"deaf": {longQuestion, besideTicks, (*client).ask},
	"endless": {tooLong, besideTicks, func(c *client) error {
		if err := c.receive(); !errors.Is(err, io.EOF) {
			return err
		}
		c.state.Store('-') // the server has hung up, as it must
		<-c.life.Done()
		return nil
	}},
}

// hear waits for the answer to question.
func (c *client) hear() error {
	data := make([]byte, len(answer))
	n, err := io.ReadFull(c.conn, data)
	if err != nil {
		return fmt.Errorf("expected %q, got %q: %w", answer, data[:n], err)
	}
	if string(data) != answer {
		return fmt.Errorf("expected %q, got %q", answer, data)
	}
	c.answered.Store(true)
	return nil
}

// receive reads until the connection ends, and never returns nil.
func (c *client) receive() error {
	data := make([]byte, 4096)
	for {
		if _, err := c.conn.Read(data); err != nil {
			return fmt.Errorf("the server hung up: %w", err)
		}
		c.answered.Store(true)
	}
}

// ask sends questions until the connection ends, and never returns nil. When it
// ends, what is not sent yet is discarded.
func (c *client) ask() error {
	c.conn.(*net.TCPConn).SetLinger(0)
	for {
		if _, err := io.WriteString(c.conn, longQuestion); err != nil {
			return err
		}
	}
}
