// Client asks a Zen server its three questions, in random order, and prints each
// with its answer (listing 7-2).
//
// It can ask every server here. It blocks, as the simplest of them does: it sends
// a question, and waits for the answer before it sends the next one. The line to look
// at is the one that calls ReadSlice.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"fopnp/chapter07/zen"
)

func converse(conn net.Conn, causeError bool) error {
	defer conn.Close()
	questions := slices.Sorted(maps.Keys(zen.Aphorisms)) // so that -e always sends the same
	if causeError {
		first := questions[0]
		_, err := io.WriteString(conn, first[:len(first)-1])
		return err
	}
	answers := bufio.NewReader(conn)
	for _, i := range rand.Perm(len(questions)) {
		question := questions[i]
		time.Sleep(zen.ThinkingTime)
		io.WriteString(conn, question) // an error shows in the next read
		answer, err := answers.ReadSlice('.')
		if err != nil {
			return fmt.Errorf("no answer to %q: %w", question, err)
		}
		if _, err := fmt.Printf("%q %q\n", question, answer); err != nil {
			return err
		}
		if bytes.HasPrefix(answer, []byte("Error")) {
			return fmt.Errorf("the server does not know %q", question)
		}
	}
	return nil
}

func main() {
	causeError := flag.Bool("e", false, "cause an error: hang up in the middle of a question")
	address := zen.ParseCommandLine("Client of the Zen-of-Python servers: asks three questions.")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	if err := converse(conn, *causeError); err != nil {
		log.Fatal(err)
	}
}
