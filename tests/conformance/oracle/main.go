// Command oracle says of Tekton documents what Tekton's own admission says of them.
//
// It links the very types that the webhook of Tekton Pipelines links, reads YAML as kubectl does, decodes
// strictly (an unknown field is refused, as under kubectl's default), sets defaults, checks metadata as an
// API server does, and validates with the feature flags that Tekton ships.
//
//	oracle FILE…         every document of every file
//	oracle < requests    one JSON object a line: {"file": NAME, "text": YAML}
//
// One JSON object a line comes back for each document:
// {"file", "index", "kind", "name", "accepted", "error"}. A document that is empty gives none. An empty line ends the
// answer to a request.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type request struct {
	File string `json:"file"`
	Text string `json:"text"`
}

type verdict struct {
	File     string `json:"file"`
	Index    int    `json:"index"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Accepted bool   `json:"accepted"`
	Error    string `json:"error"`
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := answer(out)
	if err = errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func answer(to *bufio.Writer) error {
	out := json.NewEncoder(to)
	out.SetEscapeHTML(false)
	if len(os.Args) == 1 {
		return answerRequests(os.Stdin, out, to)
	}
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := judgeAll(request{path, string(text)}, out); err != nil {
			return err
		}
	}
	return nil
}

func answerRequests(in io.Reader, out *json.Encoder, to *bufio.Writer) error {
	requests := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	for {
		var asked request
		if err := requests.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := judgeAll(asked, out); err != nil {
			return err
		}
		if _, err := to.WriteString("\n"); err != nil {
			return err
		}
		if err := to.Flush(); err != nil {
			return err
		}
	}
}

// judgeAll writes one verdict for each document of a stream.
func judgeAll(asked request, out *json.Encoder) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader([]byte(asked.Text))))
	for index := 0; ; index++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", asked.File, err)
		}
		said := verdict{File: asked.File, Index: index}
		content, err := yaml.YAMLToJSON(document)
		if err == nil && string(content) == "null" {
			continue
		}
		if err == nil {
			said.Kind, said.Name, err = judge(content)
		}
		said.Accepted = err == nil
		if err != nil {
			said.Error = err.Error()
		}
		if err := out.Encode(said); err != nil {
			return err
		}
	}
}
