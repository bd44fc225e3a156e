//go:build !race

package zentest

const raceDetector = false
