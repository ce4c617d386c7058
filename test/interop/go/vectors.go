package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	statementv1 "omi.test/interop/gen/omi/statement/v1"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// vector has the members of all kinds of vectors; what a kind does not have stays empty. `message` is hexadecimal in
// ed25519 and JSON elsewhere.
type vector struct {
	Seed         string          `json:"seed"`
	PublicKey    string          `json:"public_key"`
	Message      json.RawMessage `json:"message"`
	Signature    string          `json:"signature"`
	Type         string          `json:"type"`
	ExpectedType string          `json:"expected_type"`
	Data         string          `json:"data"`
	Version      string          `json:"version"`
	SigningInput string          `json:"signing_input"`
	StatementID  string          `json:"statement_id"`
	Reason       string          `json:"reason"`
	Case         int             `json:"case"`
	Valid        bool            `json:"valid"`
}

// Consumers of events take the signed bytes as they are: encoding these messages gives other bytes.
var notReEncoded = map[string]bool{"event_not_canonical": true, "event_with_unknown_field": true}

// Reasons about single fields follow from the options in the contract; the program in Python checks those.
var aboutFields = map[string]bool{"FIELD_INVALID": true, "KEY_INVALID": true}

// checkVectors returns how many it has checked.
func checkVectors(folder string) int {
	var wycheproof struct{ Cases []vector }
	load(filepath.Join(folder, "ed25519/wycheproof.json"), &wycheproof)
	for _, each := range wycheproof.Cases {
		expect(fmt.Sprintf("wycheproof %d", each.Case), signatureHolds(each), each.Valid)
	}
	count := len(wycheproof.Cases)
	for kind, check := range map[string]func(string, vector){
		"ed25519/valid":     validSignature,
		"ed25519/invalid":   func(name string, v vector) { expect(name, signatureHolds(v), false) },
		"canonical/valid":   validEncoding,
		"canonical/invalid": func(name string, v vector) { expect(name, formProblem(v.Type, unhex(v.Data)), v.Reason) },
		"statement/valid":   validStatement,
		"statement/invalid": invalidStatement,
	} {
		paths, err := filepath.Glob(filepath.Join(folder, kind, "*.json"))
		must(err)
		for _, path := range paths {
			var v vector
			load(path, &v)
			check(strings.TrimSuffix(filepath.Base(path), ".json"), v)
		}
		count += len(paths)
	}
	return count
}

func signatureHolds(v vector) bool {
	var message string
	must(json.Unmarshal(v.Message, &message))
	return verify(unhex(v.PublicKey), unhex(message), unhex(v.Signature))
}

func validSignature(name string, v vector) {
	expect(name, signatureHolds(v), true)
	if v.Seed != "" {
		expect(name, hex.EncodeToString(keyOf(unhex(v.Seed)).public), v.PublicKey)
	}
}

func validEncoding(name string, v vector) {
	message := newMessage(v.Type)
	must(protojson.Unmarshal(v.Message, message))
	expect(name, hex.EncodeToString(encode(message)), v.Data)
	expect(name, formProblem(v.Type, unhex(v.Data)), "")
}

func validStatement(name string, v vector) {
	message := newMessage(v.Type)
	must(protojson.Unmarshal(v.Message, message))
	expect(name, hex.EncodeToString(encode(message)) == v.Data, !notReEncoded[name])
	statement := statementOf(v)
	expect(name, hex.EncodeToString(signingInput(statement)), v.SigningInput)
	expect(name, hex.EncodeToString(statementID(statement)), v.StatementID)
	expect(name, envelopeProblem(statement, v.Type), "")
	expect(name, signatureProblem(statement, unhex(v.PublicKey)), "")
}

func invalidStatement(name string, v vector) {
	if aboutFields[v.Reason] {
		return
	}
	statement := statementOf(v)
	problem := envelopeProblem(statement, v.ExpectedType)
	if problem == "" {
		problem = formProblem(v.ExpectedType, statement.Data)
	}
	if problem == "" {
		problem = nestedProblem(newMessage(v.ExpectedType), statement.Data)
	}
	if problem == "" {
		problem = signatureProblem(statement, unhex(v.PublicKey))
	}
	expect(name, problem, v.Reason)
}

func statementOf(v vector) *statementv1.Statement {
	return &statementv1.Statement{
		Version: v.Version, Type: v.Type, Data: unhex(v.Data), Signature: unhex(v.Signature),
	}
}

func envelopeProblem(statement *statementv1.Statement, expectedType string) string {
	switch {
	case statement.Version != "1.0":
		return "VERSION_UNSUPPORTED"
	case statement.Type != expectedType:
		return "TYPE_MISMATCH"
	default:
		return ""
	}
}

// formProblem says why the bytes are not the deterministic encoding of a message, or nothing.
func formProblem(name string, data []byte) string {
	message := newMessage(name)
	if proto.Unmarshal(data, message) != nil {
		return "MALFORMED"
	}
	encoded := encode(message)
	strict := newMessage(name)
	must(proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, strict))
	switch {
	case !bytes.Equal(encode(strict), encoded):
		return "UNKNOWN_FIELD"
	case !bytes.Equal(encoded, data):
		return "NOT_CANONICAL"
	default:
		return ""
	}
}

// nestedProblem looks at the Statements that stand directly in a message; the option `carries` says what they hold.
func nestedProblem(message proto.Message, data []byte) string {
	must(proto.Unmarshal(data, message))
	problem := ""
	message.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if carried := carries(field); carried != "" {
			nested := value.Message().Interface().(*statementv1.Statement)
			problem = envelopeProblem(nested, carried)
		}
		return problem == ""
	})
	return problem
}

func signatureProblem(statement *statementv1.Statement, publicKey []byte) string {
	if !verify(publicKey, signingInput(statement), statement.Signature) {
		return "SIGNATURE_INVALID"
	}
	message := newMessage(statement.Type)
	must(proto.Unmarshal(statement.Data, message))
	if signerOf(message) != keyID(publicKey) {
		return "SIGNER_UNKNOWN"
	}
	return ""
}

// signerOf reads the signer of either kind of header, which is field 1 of every signed message.
func signerOf(message proto.Message) string {
	reflected := message.ProtoReflect()
	header := reflected.Get(reflected.Descriptor().Fields().ByNumber(1)).Message()
	return header.Get(header.Descriptor().Fields().ByName("signer")).String()
}

func newMessage(name string) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	must(err)
	return found.New().Interface()
}

func load(path string, into any) {
	text, err := os.ReadFile(path)
	must(err)
	must(json.Unmarshal(text, into))
}

func unhex(text string) []byte {
	decoded, err := hex.DecodeString(text)
	must(err)
	return decoded
}

func expect[T comparable](name string, found, wanted T) {
	if found != wanted {
		panic(fmt.Sprintf("%s: %v, not %v", name, found, wanted))
	}
}
