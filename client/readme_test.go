package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that the README calls a proof is there, and every file that it
// names; and it names every program.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)

	var tests string
	files, _ := filepath.Glob("*_test.go")
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests += string(source)
	}
	for _, name := range regexp.MustCompile(`\b(Test|Benchmark)[A-Z]\w+`).FindAllString(readme, -1) {
		if !strings.Contains(tests, "func "+name+"(") {
			t.Errorf("README.md names %s, which is not there", name)
		}
	}

	for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join("..", link[1])); err != nil {
			t.Error(err)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(strings.ReplaceAll(strings.ToLower(readme), " ", "-"), "\n##-"+link[1]+"\n") {
			t.Errorf("README.md has no heading for #%s", link[1])
		}
	}

	programs, _ := filepath.Glob("../*/main.go")
	if len(programs) != 10 {
		t.Errorf("%d programs, want 10", len(programs))
	}
	for _, program := range programs {
		path := filepath.ToSlash(strings.TrimPrefix(program, ".."+string(filepath.Separator)))
		if !strings.Contains(readme, "("+path+")") {
			t.Errorf("README.md does not name %s", path)
		}
	}
}
