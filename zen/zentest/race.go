//go:build race

package zentest

const raceDetector = true
