# SPDX-License-Identifier: MIT
"""The configuration documents of a fresh server, shortened to what a home server would set."""

from __future__ import annotations

from typing import Any

ACCELERATIONS = ["none", "amf", "qsv", "nvenc", "v4l2m2m", "vaapi", "videotoolbox", "rkmpp"]
COLLECTIONS = ["movies", "tvshows", "music", "musicvideos", "homevideos", "boxsets", "books", "mixed"]

SYSTEM: dict[str, Any] = {
    "LogFileRetentionDays": 3, "IsStartupWizardCompleted": False, "EnableMetrics": False,
    "EnableNormalizedItemByNameIds": True, "IsPortAuthorized": True, "QuickConnectAvailable": True,
    "EnableCaseSensitiveItemIds": True, "DisableLiveTvChannelUserDataName": True, "MetadataPath": "",
    "PreferredMetadataLanguage": "en", "MetadataCountryCode": "US", "SortReplaceCharacters": [".", "+", "%"],
    "SortRemoveCharacters": [",", "&", "-"], "SortRemoveWords": ["the", "a", "an"], "MinResumePct": 5,
    "MaxResumePct": 90, "MinResumeDurationSeconds": 300, "MinAudiobookResume": 5, "MaxAudiobookResume": 5,
    "InactiveSessionThreshold": 0, "LibraryMonitorDelay": 60, "LibraryUpdateDuration": 30, "CacheSize": 800,
    "ImageSavingConvention": "Legacy", "MetadataOptions": [], "SkipDeserializationForBasicTypes": True,
    "ServerName": "", "UICulture": "en-US", "SaveMetadataHidden": False, "ContentTypes": [],
    "RemoteClientBitrateLimit": 0, "EnableFolderView": False, "EnableGroupingMoviesIntoCollections": False,
    "EnableGroupingShowsIntoCollections": False, "DisplaySpecialsWithinSeasons": True, "CodecsUsed": [],
    "PluginRepositories": [], "EnableExternalContentInSuggestions": True, "ImageExtractionTimeoutMs": 0,
    "PathSubstitutions": [], "EnableSlowResponseWarning": True, "SlowResponseThresholdMs": 500,
    "CorsHosts": ["*"], "ActivityLogRetentionDays": 30, "LibraryScanFanoutConcurrency": 0,
    "LibraryMetadataRefreshConcurrency": 0, "AllowClientLogUpload": True, "DummyChapterDuration": 0,
    "ChapterImageResolution": "MatchSource", "ParallelImageEncodingLimit": 0, "EnableLegacyAuthorization": False,
}  # fmt: skip

NETWORK: dict[str, Any] = {
    "BaseUrl": "", "EnableHttps": False, "RequireHttps": False, "CertificatePath": "", "CertificatePassword": "",
    "InternalHttpPort": 8096, "InternalHttpsPort": 8920, "PublicHttpPort": 8096, "PublicHttpsPort": 8920,
    "AutoDiscovery": True, "EnableUPnP": False, "EnableIPv4": True, "EnableIPv6": False, "EnableRemoteAccess": True,
    "LocalNetworkSubnets": [], "LocalNetworkAddresses": [], "KnownProxies": [], "IgnoreVirtualInterfaces": True,
    "VirtualInterfaceNames": ["veth"], "EnablePublishedServerUriByRequest": False,
    "PublishedServerUriBySubnet": [], "RemoteIPFilter": [], "IsRemoteIPFilterBlacklist": False,
}  # fmt: skip

ENCODING: dict[str, Any] = {
    "EncodingThreadCount": -1, "TranscodingTempPath": "", "FallbackFontPath": "", "EnableFallbackFont": False,
    "EnableAudioVbr": False, "DownMixAudioBoost": 2, "DownMixStereoAlgorithm": "None", "MaxMuxingQueueSize": 2048,
    "EnableThrottling": False, "ThrottleDelaySeconds": 180, "EnableSegmentDeletion": False,
    "SegmentKeepSeconds": 720, "HardwareAccelerationType": "none",
    "EncoderAppPathDisplay": "/usr/lib/jellyfin-ffmpeg/ffmpeg", "VaapiDevice": "/dev/dri/renderD128", "QsvDevice": "",
    "EnableTonemapping": False, "EnableVppTonemapping": False, "EnableVideoToolboxTonemapping": False,
    "TonemappingAlgorithm": "bt2390", "TonemappingMode": "auto", "TonemappingRange": "auto", "TonemappingDesat": 0,
    "TonemappingPeak": 100, "TonemappingParam": 0, "VppTonemappingBrightness": 16, "VppTonemappingContrast": 1,
    "H264Crf": 23, "H265Crf": 28, "EncoderPreset": "auto", "DeinterlaceDoubleRate": False,
    "DeinterlaceMethod": "yadif", "EnableDecodingColorDepth10Hevc": True, "EnableDecodingColorDepth10Vp9": True,
    "EnableDecodingColorDepth10HevcRext": False, "EnableDecodingColorDepth12HevcRext": False,
    "EnableEnhancedNvdecDecoder": True, "PreferSystemNativeHwDecoder": True, "EnableIntelLowPowerH264HwEncoder": False,
    "EnableIntelLowPowerHevcHwEncoder": False, "EnableHardwareEncoding": True, "AllowHevcEncoding": False,
    "AllowAv1Encoding": False, "EnableSubtitleExtraction": True, "HardwareDecodingCodecs": ["h264", "vc1"],
    "AllowOnDemandMetadataBasedKeyframeExtractionForExtensions": ["mkv"],
}  # fmt: skip

BRANDING: dict[str, Any] = {"LoginDisclaimer": "", "CustomCss": "", "SplashscreenEnabled": False}

DOCUMENTS = {
    "system": ("ServerConfiguration", SYSTEM),
    "network": ("NetworkConfiguration", NETWORK),
    "encoding": ("EncodingOptions", ENCODING),
    "branding": ("BrandingOptions", BRANDING),
}

LIBRARY_OPTIONS: dict[str, Any] = {
    "Enabled": True, "EnablePhotos": True, "EnableRealtimeMonitor": True, "EnableLUFSScan": True,
    "EnableChapterImageExtraction": False, "ExtractChapterImagesDuringLibraryScan": False,
    "EnableTrickplayImageExtraction": False, "ExtractTrickplayImagesDuringLibraryScan": False, "PathInfos": [],
    "SaveLocalMetadata": False, "EnableInternetProviders": True, "EnableAutomaticSeriesGrouping": False,
    "EnableEmbeddedTitles": False, "EnableEmbeddedExtrasTitles": False, "EnableEmbeddedEpisodeInfos": False,
    "AutomaticRefreshIntervalDays": 0, "PreferredMetadataLanguage": None, "MetadataCountryCode": None,
    "SeasonZeroDisplayName": "Specials", "MetadataSavers": None, "DisabledLocalMetadataReaders": [],
    "LocalMetadataReaderOrder": None, "DisabledSubtitleFetchers": [], "SubtitleFetcherOrder": [],
    "SkipSubtitlesIfEmbeddedSubtitlesPresent": False, "SkipSubtitlesIfAudioTrackMatches": False,
    "SubtitleDownloadLanguages": None, "RequirePerfectSubtitleMatch": True, "SaveSubtitlesWithMedia": True,
    "SaveLyricsWithMedia": False, "SaveTrickplayWithMedia": False, "AutomaticallyAddToCollection": False,
    "AllowEmbeddedSubtitles": "AllowAll", "TypeOptions": [],
}  # fmt: skip
