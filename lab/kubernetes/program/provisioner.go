// Copyright (c) 2026, the runbook.ops contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	storageClass  = "standard"
	pause         = 300 * time.Millisecond
)

// Volumes are directories of this machine: one is made for each claim, for whatever account has it in its pod, and is
// deleted once the claim is. The controller manager's own ones are closed to all accounts but root.
type provisioner struct {
	client    kubernetes.Interface
	name      string
	directory string
}

func newProvisionerCommand() *cobra.Command {
	var kubeconfig, directory, address, name string
	command := &cobra.Command{Use: "provisioner", RunE: func(*cobra.Command, []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		go func() { // an address where nothing answers has nobody behind it
			log.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		}()
		p := provisioner{client, name, directory}
		for { // asked anew each time, nothing is ever missed
			if err := p.look(context.Background()); err != nil {
				log.Print(err)
			}
			time.Sleep(pause)
		}
	}}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&directory, "directory", "", "where the volumes are")
	command.Flags().StringVar(&address, "address", "", "where it answers that it is there")
	command.Flags().StringVar(&name, "name", "", "the provisioner of the storage class")
	return command
}

func (p provisioner) look(ctx context.Context) error {
	claims, err := p.client.CoreV1().PersistentVolumeClaims("").List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, claim := range claims.Items {
		ours := claim.Spec.StorageClassName != nil && *claim.Spec.StorageClassName == storageClass
		if ours && claim.Spec.VolumeName == "" && claim.Status.Phase == core.ClaimPending && claim.DeletionTimestamp == nil {
			if err := p.make(ctx, claim); err != nil && !errors.IsAlreadyExists(err) {
				return err
			}
		}
	}
	volumes, err := p.client.CoreV1().PersistentVolumes().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, volume := range volumes.Items {
		if volume.Annotations[provisionedBy] == p.name && volume.Status.Phase == core.VolumeReleased {
			if err := os.RemoveAll(filepath.Join(p.directory, volume.Name)); err != nil {
				return err
			}
			err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
			if err != nil && !errors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

func (p provisioner) make(ctx context.Context, claim core.PersistentVolumeClaim) error {
	name := "pvc-" + string(claim.UID)
	path := filepath.Join(p.directory, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask
		return err
	}
	kind := core.HostPathDirectory
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: p.name}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			StorageClassName:              storageClass,
			ClaimRef: &core.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: path, Type: &kind},
			},
		},
	}, meta.CreateOptions{})
	return err
}
