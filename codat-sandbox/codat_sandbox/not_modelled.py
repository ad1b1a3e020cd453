"""Codat's operations that the sandbox does not model."""

from collections.abc import Mapping

_CONNECTION = "/companies/{companyId}/connections/{connectionId}"
_DATA_TYPE = "/integrations/{platformKey}/dataTypes"

NOT_MODELLED: Mapping[str, str] = {
    "replace-company": "PUT /companies/{companyId}",
    "update-connection-authorization": f"PUT {_CONNECTION}/authorization",
    "get-company-access-token": "GET /companies/{companyId}/accessToken",
    "set-company-syncSettings": "POST /companies/{companyId}/syncSettings",
    "get-connection-management-access-token": "GET /companies/{companyId}/connectionManagement/accessToken",
    "get-connection-management-cors-settings": "GET /connectionManagement/corsSettings",
    "set-connection-management-cors-settings": "POST /connectionManagement/corsSettings",
    "get-cors-settings": "GET /corsSettings",
    "set-cors-settings": "POST /corsSettings",
    "rotate-zapier-key": "POST /webhooks/integrationKeys/zapier",
    "get-integrations-branding": "GET /integrations/{platformKey}/branding",
    "update-profile": "PUT /profile",
    "update-profile-syncSettings": "POST /profile/syncSettings",
    "list-api-keys": "GET /apiKeys",
    "create-api-key": "POST /apiKeys",
    "delete-api-key": "DELETE /apiKeys/{apiKeyId}",
    "get-create-update-model-options-by-data-type": f"GET {_CONNECTION}/options/{{dataType}}",
    "get-company-push-history": "GET /companies/{companyId}/push",
    "get-push-operation": "GET /companies/{companyId}/push/{pushOperationKey}",
    "configure-supplemental-data": f"PUT {_DATA_TYPE}/{{dataType}}/supplementalDataConfig",
    "get-supplemental-data-configuration": f"GET {_DATA_TYPE}/{{dataType}}/supplementalDataConfig",
    "configure-custom-data-type": f"PUT {_DATA_TYPE}/custom/{{customDataIdentifier}}",
    "get-custom-data-type-configuration": f"GET {_DATA_TYPE}/custom/{{customDataIdentifier}}",
    "list-custom-data-type-records": f"GET {_CONNECTION}/data/custom/{{customDataIdentifier}}",
}
"""The method and path of each, by Codat's name of it."""
