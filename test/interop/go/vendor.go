// What a vendor writes in Go: keys, Statements and verified answers, from the contract's comments alone.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"

	statementv1 "omi.test/interop/gen/omi/statement/v1"

	"google.golang.org/protobuf/proto"
)

var (
	p       = sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	l       = add(new(big.Int).Lsh(big.NewInt(1), 252), decimal("27742317777372353535851937790883648493"))
	order8Y = decimal("2707385501144840649318225287225658788936804267575313519463743609750303402022")
	// The y coordinates of the points whose order divides 8.
	smallOrderY = []*big.Int{big.NewInt(0), big.NewInt(1), sub(p, big.NewInt(1)), order8Y, sub(p, order8Y)}
)

func add(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
func sub(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }

func decimal(text string) *big.Int {
	number, _ := new(big.Int).SetString(text, 10)
	return number
}

func littleEndian(encoded []byte) *big.Int {
	reversed := bytes.Clone(encoded)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	return new(big.Int).SetBytes(reversed)
}

// goodForm says whether an encoded point is canonical and not of small order.
func goodForm(point []byte) bool {
	y := littleEndian(point)
	y.SetBit(y, 255, 0)
	for _, small := range smallOrderY {
		if y.Cmp(small) == 0 {
			return false
		}
	}
	return y.Cmp(p) < 0
}

// verify is the one verification rule: the form is checked here, the cofactorless equation by crypto/ed25519.
func verify(publicKey, message, signature []byte) bool {
	return len(publicKey) == 32 && len(signature) == 64 &&
		goodForm(publicKey) && goodForm(signature[:32]) && littleEndian(signature[32:]).Cmp(l) < 0 &&
		ed25519.Verify(publicKey, message, signature)
}

func keyID(publicKey []byte) string {
	jwk := fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, base64.RawURLEncoding.EncodeToString(publicKey))
	thumbprint := sha256.Sum256([]byte(jwk))
	return base64.RawURLEncoding.EncodeToString(thumbprint[:])
}

func encode(message proto.Message) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	must(err)
	return encoded
}

func signingInput(statement *statementv1.Statement) []byte {
	return encode(&statementv1.SigningInput{Version: statement.Version, Type: statement.Type, Data: statement.Data})
}

func statementID(statement *statementv1.Statement) []byte {
	id := sha256.Sum256(signingInput(statement))
	return id[:]
}

type key struct {
	private ed25519.PrivateKey
	public  []byte
	id      string
}

func keyOf(seed []byte) key {
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	return key{private, public, keyID(public)}
}

func newKey() key { return keyOf(random(32)) }

func random(length int) []byte {
	buffer := make([]byte, length)
	_, err := rand.Read(buffer)
	must(err)
	return buffer
}

// header is for a message that this key signs now.
func (signer key) header(audience string) *statementv1.Header {
	return &statementv1.Header{
		Audience: audience, Timestamp: time.Now().Unix(), Nonce: random(16), Signer: signer.id,
	}
}

func (signer key) sign(message proto.Message) *statementv1.Statement {
	statement := &statementv1.Statement{
		Version: "1.0", Type: string(message.ProtoReflect().Descriptor().FullName()), Data: encode(message),
	}
	statement.Signature = ed25519.Sign(signer.private, signingInput(statement))
	return statement
}

// answer is any message that has an AnswerHeader.
type answer interface {
	proto.Message
	GetHeader() *statementv1.AnswerHeader
}

// open verifies an answer and decodes it into the message that it must be.
func open(statement *statementv1.Statement, publicKey []byte, into answer) {
	if name := string(into.ProtoReflect().Descriptor().FullName()); statement.GetType() != name {
		panic(fmt.Sprintf("%s instead of %s", statement.GetType(), name))
	}
	if !verify(publicKey, signingInput(statement), statement.Signature) {
		panic(statement.Type + " does not verify")
	}
	must(proto.Unmarshal(statement.Data, into))
	if into.GetHeader().GetSigner() != keyID(publicKey) {
		panic(statement.Type + " names another signer")
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
