//go:build !unix

package zen

import (
	"log"
	"net"
	"runtime"
)

// RedirectOutput exits with status 1: there is no inetd.
func RedirectOutput() {
	log.SetFlags(0)
	log.Fatalf("this program runs under inetd, which %s does not have; srv_legacy runs without", runtime.GOOS)
}

// StdinConn is never called, because RedirectOutput exits.
func StdinConn() net.Conn { panic("no inetd") }

// StdinListener is never called, because RedirectOutput exits.
func StdinListener() Listener { panic("no inetd") }
