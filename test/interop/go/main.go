// Checks the vectors, then makes an app and binds a service to it, over gRPC and over Connect. Arguments: the vectors, a
// file that says what to use.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	agentv1 "omi.test/interop/gen/omi/agent/v1"
	errorv1 "omi.test/interop/gen/omi/error/v1"
	keyv1 "omi.test/interop/gen/omi/key/v1"
	optionsv1 "omi.test/interop/gen/omi/options/v1"
	registryv1 "omi.test/interop/gen/omi/registry/v1"
	"omi.test/interop/gen/omi/registry/v1/registryv1connect"
	statementv1 "omi.test/interop/gen/omi/statement/v1"

	// Their messages stand in vectors.
	_ "omi.test/interop/gen/omi/auth/v1"
	_ "omi.test/interop/gen/omi/event/v1"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const ed25519Algorithm = keyv1.KeyAlgorithm_KEY_ALGORITHM_ED25519

type settings struct {
	Registry     string `json:"registry"`
	RegistryKey  string `json:"registry_key"`
	Address      string `json:"address"`
	Provider     string `json:"provider"`
	ProviderSeed string `json:"provider_seed"`
	Endpoint     string `json:"endpoint"`
}

type story struct {
	settings
	registryKey               []byte
	provider, master, service key
	registry                  registryv1.RegistryServiceClient
	resolver                  registryv1.ResolverServiceClient
	// The same read over Connect with JSON and HTTP/1.1.
	connected registryv1connect.ResolverServiceClient
}

// opened checks that an answer is one to the statement that was sent.
func (s *story) opened(answered *statementv1.Statement, err error, sent *statementv1.Statement, into answer) {
	must(err)
	open(answered, s.registryKey, into)
	if !bytes.Equal(into.GetHeader().InReplyTo, statementID(sent)) {
		panic("an answer to another statement")
	}
}

func (s *story) register(ctx context.Context) string {
	namespace := "go" + hex.EncodeToString(random(4))
	claim := s.master.sign(&registryv1.NamespaceClaim{
		Header: s.master.header(s.Registry), PublicKey: s.master.public, Algorithm: ed25519Algorithm,
		NamespaceClaim: namespace,
	})
	claimed, err := s.registry.ClaimNamespace(ctx, &registryv1.ClaimNamespaceRequest{Statement: claim})
	s.opened(claimed.GetAnswer(), err, claim, &registryv1.NamespaceAnswer{})
	manifest := s.master.sign(&registryv1.AppManifest{
		Header: s.master.header(s.Registry), OwnerNamespace: namespace, ProjectSlug: "shop", DisplayName: "Läden 商店",
	})
	registered, err := s.registry.RegisterApp(ctx, &registryv1.RegisterAppRequest{Statement: manifest})
	var app registryv1.AppAnswer
	s.opened(registered.GetAnswer(), err, manifest, &app)
	return app.App.AppId
}

func (s *story) binding(appID, serviceID string) *statementv1.Statement {
	proof := s.master.sign(&agentv1.ProvisionService{
		Header: s.master.header(s.Provider), AppId: appID, TargetProvider: s.Provider, ProviderKeyId: s.provider.id,
		ServiceType: "cms-article", ServiceId: serviceID, ExpiresAt: time.Now().Unix() + 600,
	})
	endorsement := s.provider.sign(&registryv1.Endorsement{
		Header: s.provider.header(s.Registry), AppId: appID, ServiceId: serviceID, PublicKey: s.service.public,
		EndpointUrl: s.Endpoint, ProofId: statementID(proof),
	})
	possession := s.service.sign(&registryv1.KeyPossession{
		Header: s.service.header(s.Registry), AppId: appID, ServiceId: serviceID, PublicKey: s.service.public,
		Role: keyv1.KeyRole_KEY_ROLE_SERVICE, Algorithm: ed25519Algorithm,
	})
	return s.service.sign(&registryv1.ServiceBinding{
		Header: s.service.header(s.Registry), AppId: appID, ServiceId: serviceID, PublicKey: s.service.public,
		ServiceType: "cms-article", EndpointUrl: s.Endpoint,
		DeveloperProof: proof, Endorsement: endorsement, KeyPossession: possession,
	})
}

func (s *story) play(ctx context.Context) map[string]any {
	appID := s.register(ctx)
	binding := s.binding(appID, "articles")
	bindResponse, err := s.registry.BindService(ctx, &registryv1.BindServiceRequest{Statement: binding})
	var bound registryv1.BindingAnswer
	s.opened(bindResponse.GetAnswer(), err, binding, &bound)

	query := &registryv1.ResolveServiceRequest{AppId: appID, ServiceId: "articles", Nonce: random(16)}
	overGRPC, err := s.resolver.ResolveService(ctx, query)
	must(err)
	overConnect, err := s.connected.ResolveService(ctx, connect.NewRequest(query))
	must(err)
	for _, answered := range []*statementv1.Statement{overGRPC.Answer, overConnect.Msg.Answer} {
		var read registryv1.ServiceAnswer
		open(answered, s.registryKey, &read)
		if !bytes.Equal(read.Header.Query, encode(query)) || !proto.Equal(read.Service, bound.Service) {
			panic("an answer to another question, or about another service")
		}
	}

	_, taken := s.registry.BindService(ctx, &registryv1.BindServiceRequest{Statement: s.binding(appID, "articles")})
	nobody := &registryv1.ResolveServiceRequest{AppId: appID, ServiceId: "nobody"}
	_, unknown := s.connected.ResolveService(ctx, connect.NewRequest(nobody))
	return map[string]any{
		"appId": appID, "keyId": s.service.id, "refusals": []string{grpcReason(taken), connectReason(unknown)},
	}
}

func grpcReason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if found, ok := detail.(*errorv1.ErrorDetail); ok {
			return found.Reason.String()
		}
	}
	panic(err)
}

func connectReason(err error) string {
	var refused *connect.Error
	if errors.As(err, &refused) {
		for _, detail := range refused.Details() {
			if value, err := detail.Value(); err == nil {
				if found, ok := value.(*errorv1.ErrorDetail); ok {
					return found.Reason.String()
				}
			}
		}
	}
	panic(err)
}

// carries reads the option that says which message a Statement field holds.
func carries(field protoreflect.FieldDescriptor) string {
	return proto.GetExtension(field.Options(), optionsv1.E_Carries).(string)
}

func main() {
	checked := checkVectors(os.Args[1])
	s := story{master: newKey(), service: newKey()}
	load(os.Args[2], &s.settings)
	s.registryKey, s.provider = unhex(s.RegistryKey), keyOf(unhex(s.ProviderSeed))
	connection, err := grpc.NewClient("passthrough:///"+s.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	s.registry = registryv1.NewRegistryServiceClient(connection)
	s.resolver = registryv1.NewResolverServiceClient(connection)
	s.connected = registryv1connect.NewResolverServiceClient(
		http.DefaultClient, "http://"+s.Address, connect.WithProtoJSON(), connect.WithHTTPGet(),
	)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	outcome := s.play(ctx)
	outcome["vectors"] = checked
	var line strings.Builder
	must(json.NewEncoder(&line).Encode(outcome))
	os.Stdout.WriteString(line.String())
}
