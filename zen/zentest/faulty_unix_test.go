//go:build unix

package zentest

import (
	"log"
	"os"

	"fopnp/chapter07/zen"
)

// faultyUnderInetd is in_zen1 with a fault.
func faultyUnderInetd(fault string) {
	switch fault {
	case "logs to its client":
		log.Print("Hello")
	case "follows links":
		if path, err := os.Readlink(zen.LogFile); err == nil {
			os.WriteFile(path, []byte("overwritten"), 0o644)
		}
	}
	zen.RedirectOutput()
	zen.HandleConversation(zen.StdinConn())
}
