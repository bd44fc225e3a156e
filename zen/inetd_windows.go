package zen

import (
	"log"
	"net"
)

// LogFile is the log of the programs under inetd, which Windows does not have.
var LogFile string

// RedirectOutput exits with status 1: there is no inetd.
func RedirectOutput() {
	log.SetFlags(0)
	log.Fatal("this program runs under inetd, which Windows does not have; srv_legacy runs without")
}

// StdinConn is never called, because RedirectOutput exits.
func StdinConn() net.Conn { panic("no inetd") }

// StdinListener is never called, because RedirectOutput exits.
func StdinListener() Listener { panic("no inetd") }
