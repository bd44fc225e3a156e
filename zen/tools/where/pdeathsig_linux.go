package main

import "syscall"

// If where is killed, Linux kills the programs that where has started.
func init() { attributes.Pdeathsig = syscall.SIGKILL }
