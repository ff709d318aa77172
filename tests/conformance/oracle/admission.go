package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1alpha1"
	"github.com/tektoncd/pipeline/pkg/apis/pipeline/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/webhook/json"
	kjson "sigs.k8s.io/json"
)

// preserved is what the schemas of the resource definitions leave open, so that the API server's own strictness
// ends there, and the webhook's decoder, to which `mountpath` is `mountPath`, is all that looks.
var preserved = regexp.MustCompile(
	`\.(pipelineSpec|taskSpec|volumeClaimTemplate|podTemplate\.(affinity|securityContext|volumes\[\d+\]))\.|spec\.volumes\[\d+\]\.`)

// object is what the webhook knows of each kind.
type object interface {
	metav1.ObjectMetaAccessor
	apis.Defaultable
	apis.Validatable
}

var kinds = map[string]func() object{
	"tekton.dev/v1 PipelineRun":      func() object { return &v1.PipelineRun{} },
	"tekton.dev/v1 TaskRun":          func() object { return &v1.TaskRun{} },
	"tekton.dev/v1 Pipeline":         func() object { return &v1.Pipeline{} },
	"tekton.dev/v1 Task":             func() object { return &v1.Task{} },
	"tekton.dev/v1alpha1 StepAction": func() object { return &v1alpha1.StepAction{} },
	"tekton.dev/v1beta1 StepAction":  func() object { return &v1beta1.StepAction{} },
}

// configuration is what runs may use and Kubernetes itself admits.
var configuration = map[string]func() metav1.Object{
	"v1 ConfigMap":             func() metav1.Object { return &corev1.ConfigMap{} },
	"v1 Secret":                func() metav1.Object { return &corev1.Secret{} },
	"v1 PersistentVolumeClaim": func() metav1.Object { return &corev1.PersistentVolumeClaim{} },
	"v1 ServiceAccount":        func() metav1.Object { return &corev1.ServiceAccount{} },
}

// judge admits one document, or says why not. An error of kind or name comes with both empty.
func judge(content []byte) (kind, name string, err error) {
	var head metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(content, &head); err != nil {
		return head.Kind, "", err
	}
	known := kinds[head.APIVersion+" "+head.Kind]
	if plain := configuration[head.APIVersion+" "+head.Kind]; plain != nil {
		return judgeConfiguration(content, head.Kind, plain())
	}
	if known == nil {
		return head.Kind, "", fmt.Errorf("no matches for kind %q in version %q", head.Kind, head.APIVersion)
	}
	it := known()
	if err := json.Decode(content, it, true); err != nil {
		return head.Kind, "", fmt.Errorf("decoding: %w", err)
	}
	if err := unknownFields(content, known()); err != nil {
		return head.Kind, "", err
	}
	return head.Kind, it.GetObjectMeta().GetName(), admit(it)
}

// unknownFields is the API server's strict validation of fields, which kubectl asks for.
func unknownFields(content []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(content, into)
	if err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	for _, each := range strict {
		if !preserved.MatchString(each.Error()) {
			return fmt.Errorf("strict decoding: %w", each)
		}
	}
	return nil
}

func judgeConfiguration(content []byte, kind string, it metav1.Object) (string, string, error) {
	if err := unknownFields(content, it); err != nil {
		return kind, "", err
	}
	return kind, it.GetName(), admitMeta(it)
}

func admitMeta(meta metav1.Object) error {
	if meta.GetNamespace() == "" {
		meta.SetNamespace("default")
	}
	if meta.GetName() == "" && meta.GetGenerateName() != "" {
		base := meta.GetGenerateName()
		meta.SetName(base[:min(len(base), 58)] + "abcde") // as the API server completes it
	}
	wrong := apivalidation.ValidateObjectMetaAccessor(meta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return wrong.ToAggregate()
}

// admit panics where Tekton's code does: its webhook then answers nothing, and the API server refuses.
func admit(it object) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("the webhook broke: %v", broken)
		}
	}()
	if err := admitMeta(it.GetObjectMeta()); err != nil {
		return err
	}
	ctx := apis.WithinCreate(shipped(context.Background()))
	it.SetDefaults(ctx)
	if err := it.Validate(ctx); err != nil {
		return err
	}
	return nil
}

// shipped is the configuration that a Tekton just installed has; where a map lacks a key, Tekton's own default holds.
func shipped(ctx context.Context) context.Context {
	flags, err := config.NewFeatureFlagsFromMap(map[string]string{"enable-api-fields": "beta", "enable-step-actions": "true"})
	if err != nil {
		panic(err) // a constant
	}
	defaults, err := config.NewDefaultsFromMap(nil)
	if err != nil {
		panic(err)
	}
	whole := config.FromContextOrDefaults(ctx)
	whole.FeatureFlags, whole.Defaults = flags, defaults
	return config.ToContext(ctx, whole)
}
