//go:build !unix

package zentest

import (
	"errors"
	"os"
	"testing"
	"time"
)

var (
	nothing   os.Signal = os.Interrupt // is ignored there
	terminate os.Signal = os.Kill
	harmless  []os.Signal
)

func permitAll() {}

func impatient(time.Duration) {}

func makePipe(string) error { return errors.New("no named pipes") }
func destroyListeners()     {}

func (s *service) startInetd(t testing.TB) { t.Skip("SKIPPED on Windows: there is no inetd") }

// An Exit is how a program must end.
type Exit struct {
	Line   string
	Status int
}

// CheckStandardInput, CheckIdle and CheckLeaving skip: there is no inetd.

func CheckStandardInput(t *testing.T, _ map[string]Exit) {
	t.Skip("SKIPPED on Windows: there is no inetd")
}
func CheckIdle(t *testing.T, _ Server, _ int) { t.Skip("SKIPPED on Windows: there is no inetd") }
func CheckLeaving(t *testing.T, _ Server)     { t.Skip("SKIPPED on Windows: there is no inetd") }
