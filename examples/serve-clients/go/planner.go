// Package planner asks a running `planner serve` how to run an issue. Standard library only.
package planner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxAnswer = 4 << 20

// Budgets of an action; each is a number or "NA" for no limit.
type Budgets struct {
	Candidates json.RawMessage `json:"max_candidates_bin"`
	Minutes    json.RawMessage `json:"max_minutes_bin"`
	Iterations json.RawMessage `json:"max_iterations_bin"`
}

// Action is a planner_action.v1; Reason is nil where the model decided.
type Action struct {
	SchemaVersion string            `json:"schema_version"`
	CreatedAt     string            `json:"created_at"`
	SwarmID       string            `json:"swarm_id"`
	Budgets       Budgets           `json:"budgets"`
	Abstain       bool              `json:"abstain_to_default"`
	Reason        *string           `json:"reason"`
	InputHash     string            `json:"input_hash"`
	Confidence    *float64          `json:"confidence"`
	Model         map[string]string `json:"model"`
}

// Executed is an executed_plan.v1; nil is no limit.
type Executed struct {
	SwarmID        string `json:"swarm_id_executed"`
	Candidates     *int64 `json:"max_candidates_executed"`
	TimeoutSeconds *int64 `json:"timeout_seconds_executed"`
	Iterations     *int64 `json:"max_iterations_executed"`
}

// Plan is a decision with what belongs into a manifest and into a log of runs.
type Plan struct {
	Action       Action             `json:"action"`
	Executed     Executed           `json:"executed"`
	Arm          string             `json:"arm"`
	Propensity   float64            `json:"propensity"`
	Propensities map[string]float64 `json:"propensities"`
	DecisionID   string             `json:"decision_id"`
}

// Refused is what the server says of a request that it does not answer.
type Refused struct {
	Status int
	Said   string `json:"error"`
}

func (r *Refused) Error() string { return fmt.Sprintf("%s (HTTP %d)", r.Said, r.Status) }

// Client asks one server. It is safe to share between goroutines.
type Client struct {
	base string
	http *http.Client
	// Tries of a request that finds the server busy, or not there at all.
	Tries int
}

// New makes a client for "http://127.0.0.1:8337" or "unix:/run/planner.sock", as the server prints it.
func New(url string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	base := url
	if path := strings.TrimPrefix(url, "unix:"); path != url {
		base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	return &Client{base, &http.Client{Transport: transport, Timeout: 10 * time.Second}, 5}
}

// Decide returns the action to execute for one planner_input.v1.
func (c *Client) Decide(ctx context.Context, input any) (out Action, err error) {
	return out, c.post(ctx, "/v1/decide", input, &out)
}

// Plan returns the same with all that belongs to it.
func (c *Client) Plan(ctx context.Context, input any) (out Plan, err error) {
	return out, c.post(ctx, "/v1/plan", input, &out)
}

// DecideBatch returns the actions of up to 256 inputs, all or none.
func (c *Client) DecideBatch(ctx context.Context, inputs []any) ([]Action, error) {
	var out struct{ Actions []Action }
	err := c.post(ctx, "/v1/decide_batch", map[string]any{"inputs": inputs}, &out)
	return out.Actions, err
}

func (c *Client) post(ctx context.Context, path string, document, out any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		wait, err := c.once(ctx, path, body, out)
		if wait == 0 || try >= c.Tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// once returns how long to wait before the next try; 0 where another would not help.
func (c *Client) once(ctx context.Context, path string, body []byte, out any) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	if err != nil {
		return 100 * time.Millisecond, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err == nil && answer.StatusCode == http.StatusOK {
		return 0, json.Unmarshal(said, out)
	}
	refused := &Refused{Status: answer.StatusCode, Said: string(said)}
	_ = json.Unmarshal(said, refused) // what is no JSON is told as it is
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, refused
}
