//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import "log"

func main() {
	log.SetFlags(0)
	log.Fatal("inetd runs on Linux, macOS and the BSDs")
}
