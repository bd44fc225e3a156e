// Client asks a Zen server its three questions, in random order, and prints
// each with its answer (listing 7-2).
//
// It is the other end of every server here, and blocks like the simplest of
// them: it writes a question, and waits until the answer's full stop has come.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"fopnp/chapter07/zen"
)

// converse asks conn's server every question. To cause an error it hangs up
// before the first one is whole.
func converse(conn net.Conn, causeError bool) error {
	questions := slices.Collect(maps.Keys(zen.Aphorisms))
	rand.Shuffle(len(questions), func(i, j int) {
		questions[i], questions[j] = questions[j], questions[i]
	})
	if causeError {
		first := questions[0]
		_, err := fmt.Fprint(conn, first[:len(first)-1])
		return err
	}
	answers := bufio.NewReader(conn)
	for _, question := range questions {
		fmt.Fprint(conn, question) // where this fails, so does the read
		answer, err := answers.ReadSlice('.')
		if err != nil {
			return fmt.Errorf("no answer to %q: %w", question, err)
		}
		if _, err := fmt.Printf("%q %q\n", question, answer); err != nil {
			return err
		}
		if strings.HasPrefix(string(answer), "Error") {
			return fmt.Errorf("the server does not know %q", question)
		}
	}
	return nil
}

func main() {
	causeError := flag.Bool("e", false, "cause an error: hang up in mid-question")
	address := zen.ParseCommandLine("Client of the Zen-of-Python servers: asks three questions.")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := converse(conn, *causeError); err != nil {
		log.Fatal(err)
	}
}
