//go:build !unix

package main

import "log"

func main() {
	log.SetFlags(0)
	log.Fatal("where needs SIGQUIT, on which a Go program prints its stacks; this system has none")
}
