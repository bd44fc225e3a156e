package zentest

import "syscall"

// If a test is killed, Linux kills the programs that it has started.
func init() { attributes.Pdeathsig = syscall.SIGKILL }
