//go:build !unix

package zentest

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// What Unix has and this system has not.

var harmless []os.Signal

func ownGroup(*exec.Cmd)                       {}
func deliver(process *os.Process, _ os.Signal) { process.Kill() }
func descriptorLimit() uint64                  { return 1 << 20 }
func permitAll()                               {}
func makePipe(string) error                    { return errors.New("no named pipes") }
func destroyListeners()                        {}
func netlinkSocket(testing.TB) *os.File        { return nil }
func isListening(uintptr) bool                 { return true }
