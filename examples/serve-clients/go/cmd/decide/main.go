// Command decide asks a server for each planner input on standard input, one a line, and prints the answers:
//
//	decide [-plan] URL < inputs.jsonl
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"example.com/planner"
)

func main() {
	arguments, plan := os.Args[1:], false
	if len(arguments) > 1 && arguments[0] == "-plan" {
		arguments, plan = arguments[1:], true
	}
	if len(arguments) != 1 {
		fmt.Fprintln(os.Stderr, "usage: decide [-plan] URL < inputs.jsonl")
		os.Exit(2)
	}
	client, lines, answers := planner.New(arguments[0]), bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var answer any
		var err error
		if plan {
			answer, err = client.Plan(context.Background(), json.RawMessage(lines.Bytes()))
		} else {
			answer, err = client.Decide(context.Background(), json.RawMessage(lines.Bytes()))
		}
		if err == nil {
			err = answers.Encode(answer)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
