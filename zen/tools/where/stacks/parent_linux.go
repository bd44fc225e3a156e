package stacks

import "syscall"

// If the program that calls Dump is killed, Linux kills the server.
func init() { attributes.Pdeathsig = syscall.SIGKILL }
