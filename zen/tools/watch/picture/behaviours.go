package picture

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"fopnp/chapter07/zen"
)

// A behaviour is what a client does: it sends its opening, and then does the rest.
// After so many ticks its connection fails with [os.ErrDeadlineExceeded].
type behaviour struct {
	opening string // sent before the next client connects; "" if it is silent
	ticks   int
	rest    func(c *client) error // returns when the client leaves, or why it must
}

const (
	question    = "Simple is better than?"
	silentTicks = 6  // between two questions
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

// A polite client asks, waits for the answer, is silent, and asks again.
var polite = behaviour{question, maxTicks, func(c *client) error {
	if err := c.hear(); err != nil {
		return err
	}
	c.beSilent()
	c.record('.')
	io.WriteString(c.conn, question) // if this fails, so does the read
	return c.hear()
}}

// Kinds are the clients that can stand beside the six: silent asks nothing; flood
// asks as fast as it can, and reads the answers; deaf does so and reads nothing;
// endless sends too long a question, and does not hang up. Each lives for 12 ticks.
var Kinds = slices.Sorted(maps.Keys(kinds))

var kinds = map[string]behaviour{
	"silent": {"", besideTicks, (*client).receive},
	"flood": {longQuestion, besideTicks, func(c *client) error {
		go c.ask()
		return c.receive()
	}},
	"deaf": {longQuestion, besideTicks, (*client).ask},
	"endless": {tooLong, besideTicks, func(c *client) error {
		err := c.receive()
		if !errors.Is(err, io.EOF) {
			return err
		}
		c.record('-') // the server has hung up, as it must
		time.Sleep(time.Until(c.deadline))
		return nil
	}},
}

// hear waits for the answer to question.
func (c *client) hear() error {
	data := make([]byte, len(answer))
	n, err := io.ReadFull(c.conn, data)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer within %d ticks", maxTicks)
	case err != nil:
		return fmt.Errorf("expected %q, got %q: %w", answer, data[:n], err)
	case string(data) != answer:
		return fmt.Errorf("expected %q, got %q", answer, data)
	}
	c.record(c.label[0])
	return nil
}

// beSilent waits until six ticks after the nearest tick. If it waited for six ticks
// from now, the lateness of each answer would add up in a long picture.
func (c *client) beSilent() {
	c.record('-')
	p := c.picture
	wake := p.begin.Add(time.Since(p.begin).Round(p.tick) + silentTicks*p.tick)
	time.Sleep(min(time.Until(wake), time.Until(c.deadline)))
}

// receive reads until the connection ends, and never returns nil.
func (c *client) receive() error {
	data := make([]byte, 4096)
	for {
		n, err := c.conn.Read(data)
		if n > 0 {
			c.record(c.label[0])
		}
		if err != nil {
			return fmt.Errorf("the server hung up: %w", err)
		}
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
